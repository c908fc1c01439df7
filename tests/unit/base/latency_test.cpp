// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/base/latency.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace cascade {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

/// The one bucket in which something is.
std::size_t bucket_of(nanoseconds took) {
  LatencyHistogram histogram;
  histogram.add(took);
  const auto& counts = histogram.counts();
  return static_cast<std::size_t>(std::find(counts.begin(), counts.end(), 1u) - counts.begin());
}

TEST(Latency, IsInTheBucketWhoseBoundsHoldIt) {
  std::uint64_t begin = 0;
  for (std::size_t bucket = 0; bucket < LatencyHistogram::buckets; ++bucket) {
    const std::uint64_t end = LatencyHistogram::end_us(bucket);
    ASSERT_LT(begin, end);
    EXPECT_EQ(bucket_of(microseconds(begin)), bucket);
    EXPECT_EQ(bucket_of(microseconds(end) - nanoseconds(1)), bucket);
    EXPECT_LE((end - begin) * 4, std::max<std::uint64_t>(begin, 4)) << "known to a quarter";
    begin = end;
  }
  EXPECT_EQ(begin, 1u << 28) << "268 s";
}

TEST(Latency, HasAPlaceForWhatIsOutOfAllBounds) {
  EXPECT_EQ(bucket_of(hours(9)), LatencyHistogram::buckets - 1);
  EXPECT_EQ(bucket_of(nanoseconds(-5)), 0u);
}

TEST(Latency, CountsWritesAndTheirTime) {
  LatencyHistogram histogram;
  histogram.add(microseconds(10), 3);
  histogram.add(microseconds(100));
  histogram.add(microseconds(-100));
  EXPECT_EQ(histogram.sum(), microseconds(130));
  std::uint64_t all = 0;
  for (const std::uint64_t count : histogram.counts()) all += count;
  EXPECT_EQ(all, 5u);
}

}  // namespace
}  // namespace cascade
