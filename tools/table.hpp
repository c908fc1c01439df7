// SPDX-License-Identifier: GPL-2.0-or-later
// A plain table on a terminal, through libsmartcols.
#pragma once

#include <string>
#include <vector>

namespace cascade {

/// Rows of as many cells as there are columns; right-aligned where the name begins with '>'.
std::string render_table(const std::vector<std::string>& columns,
                         const std::vector<std::vector<std::string>>& rows);

}  // namespace cascade
