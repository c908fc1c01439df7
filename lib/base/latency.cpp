// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/base/latency.hpp"

#include <algorithm>
#include <bit>

namespace cascade {
namespace {

/// 0 to 3 us have a bucket each; from there on the leading bit and the two behind it say which.
std::size_t bucket_of(std::uint64_t us) {
  if (us < 4) return us;
  const auto top = static_cast<std::size_t>(std::bit_width(us)) - 1;
  const std::size_t quarter = (us >> (top - 2)) & 3;
  return std::min(4 * (top - 1) + quarter, LatencyHistogram::buckets - 1);
}

}  // namespace

std::uint64_t LatencyHistogram::end_us(std::size_t bucket) {
  if (bucket < 4) return bucket + 1;
  return (bucket % 4 + 5) << (bucket / 4 - 1);
}

void LatencyHistogram::add(std::chrono::nanoseconds took, std::uint64_t times) {
  const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 0));
  counts_[bucket_of(ns / 1000)] += times;
  sum_ns_ += ns * times;
}

}  // namespace cascade
