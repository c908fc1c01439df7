// SPDX-License-Identifier: GPL-2.0-or-later
//
// How long something took, many times over: a count for each of 108 ranges of time, four to each
// doubling, so that any of them is known to a quarter at worst, whatever its size (log-linear
// buckets, as HdrHistogram has them). Fixed in size; to count one is a few instructions.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace cascade {

class LatencyHistogram {
 public:
  /// From below 1 us to 268 s; what takes longer is in the last one.
  static constexpr std::size_t buckets = 108;

  /// First duration, in us, that is longer than what `bucket` holds.
  static std::uint64_t end_us(std::size_t bucket);

  /// `times` things took so long. Less than nothing, by a clock that somebody set, is nothing.
  void add(std::chrono::nanoseconds took, std::uint64_t times = 1);

  const std::array<std::uint64_t, buckets>& counts() const { return counts_; }
  /// Of all that was counted.
  std::chrono::nanoseconds sum() const { return std::chrono::nanoseconds(sum_ns_); }

 private:
  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t sum_ns_ = 0;
};

}  // namespace cascade
