// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

namespace cascade::test {

/// How often memory was asked for by `new` in this program, by all of its threads.
std::uint64_t allocations_until_now();

}  // namespace cascade::test
