// SPDX-License-Identifier: GPL-2.0-or-later
//
// What two copies are compared by: XXH3 with 128 bits (https://github.com/Cyan4973/xxHash). It
// finds what differs by accident, but for one chance in 2^128, and is no defence against somebody
// who makes content on purpose: who can write a volume needs none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cascade {

struct ContentSum {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool operator==(const ContentSum&) const = default;
};

ContentSum content_sum(std::span<const std::byte> content);

}  // namespace cascade
