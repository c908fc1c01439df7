// SPDX-License-Identifier: GPL-2.0-or-later
// How far behind a downstream node is: counts, and bounded memory.
#include "daemon/path/backlog.hpp"

#include <gtest/gtest.h>

namespace cascade {
namespace {

using std::chrono::seconds;

BatchInfo batch(std::uint64_t first, std::uint32_t records, std::uint32_t bytes) {
  BatchInfo info;
  info.first_seq = first;
  info.records = records;
  info.payload_bytes = bytes;
  return info;
}

TEST(Backlog, CountsWhatHasNotArrived) {
  Backlog backlog;
  backlog.add(batch(1, 10, 1000), seconds(1));
  backlog.add(batch(11, 5, 500), seconds(2));
  auto f = backlog.figures(seconds(4));
  EXPECT_EQ(f.writes, 15u);
  EXPECT_EQ(f.bytes, 1500u);
  EXPECT_DOUBLE_EQ(f.age_seconds, 3);
  backlog.arrived(12, seconds(4));
  f = backlog.figures(seconds(4));
  EXPECT_EQ(f.writes, 3u);
  EXPECT_DOUBLE_EQ(f.age_seconds, 2);
  backlog.arrived(15, seconds(5));
  EXPECT_EQ(backlog.latency().sum(), 10 * seconds(3) + 5 * seconds(3)) << "how old they were";
  f = backlog.figures(seconds(4));
  EXPECT_EQ(f.writes, 0u);
  EXPECT_EQ(f.bytes, 0u);
  EXPECT_DOUBLE_EQ(f.age_seconds, 0);
}

TEST(Backlog, CountsTheAgeThatABatchHasAlready) {
  Backlog backlog;
  backlog.add(batch(1, 1, 1), seconds(5), seconds(60));
  EXPECT_DOUBLE_EQ(backlog.figures(seconds(6)).age_seconds, 61);
}

TEST(Backlog, StaysRightWhenItMergesItsPieces) {
  Backlog backlog;
  constexpr std::uint64_t batches = 300'000;
  for (std::uint64_t i = 0; i < batches; ++i) backlog.add(batch(1 + 2 * i, 2, 512), Duration(i));
  EXPECT_EQ(backlog.figures({}).writes, 2 * batches);
  EXPECT_EQ(backlog.figures({}).bytes, 512 * batches);
  backlog.arrived(2 * batches, {});
  EXPECT_EQ(backlog.figures({}).bytes, 0u);
}

}  // namespace
}  // namespace cascade
