// SPDX-License-Identifier: GPL-2.0-or-later
// `dmcascade drill`, for commands that make images as a part of what they do.
#pragma once

#include "tools/command.hpp"

#include <string>

namespace cascade {

inline constexpr const char* drill_folder = "/var/lib/dmcascade";

/// As `drill start GROUP --in FOLDER`; an exit code, after an error was printed.
int start_drill(const Options& options, const std::string& group, const std::string& folder);

}  // namespace cascade
