// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sets of bytes of a volume, as ranges in order that neither touch nor overlap.
#pragma once

#include "lib/format/frame.hpp"

#include <cstdint>
#include <vector>

namespace cascade {

using Ranges = std::vector<Verified::Range>;

std::uint64_t bytes_of(const Ranges& ranges);
/// What is in any of them; they may be in any order, and overlap.
Ranges united(Ranges ranges);
/// What is in both.
Ranges common(const Ranges& a, const Ranges& b);
/// What is in `a` alone.
Ranges without(const Ranges& a, const Ranges& b);

}  // namespace cascade
