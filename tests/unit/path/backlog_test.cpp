// SPDX-License-Identifier: GPL-2.0-or-later
// How far behind a downstream node is: counts, and bounded memory.
#include "daemon/path/backlog.hpp"

#include <gtest/gtest.h>

namespace cascade {
namespace {

BatchInfo batch(std::uint64_t first, std::uint32_t records, std::uint32_t bytes,
                std::uint64_t time_ns) {
  BatchInfo info;
  info.first_seq = first;
  info.records = records;
  info.payload_bytes = bytes;
  info.append_time_ns = time_ns;
  return info;
}

constexpr std::uint64_t second = 1'000'000'000;

TEST(Backlog, CountsWhatHasNotArrived) {
  Backlog backlog;
  backlog.add(batch(1, 10, 1000, 1 * second));
  backlog.add(batch(11, 5, 500, 2 * second));
  auto f = backlog.figures(4 * second);
  EXPECT_EQ(f.writes, 15u);
  EXPECT_EQ(f.bytes, 1500u);
  EXPECT_DOUBLE_EQ(f.age_seconds, 3);
  backlog.arrived(12);
  f = backlog.figures(4 * second);
  EXPECT_EQ(f.writes, 3u);
  EXPECT_DOUBLE_EQ(f.age_seconds, 2);
  backlog.arrived(15);
  f = backlog.figures(4 * second);
  EXPECT_EQ(f.writes, 0u);
  EXPECT_EQ(f.bytes, 0u);
  EXPECT_DOUBLE_EQ(f.age_seconds, 0);
}

TEST(Backlog, AClockThatStepsBackMakesNoNegativeAge) {
  Backlog backlog;
  backlog.add(batch(1, 1, 1, 5 * second));
  EXPECT_DOUBLE_EQ(backlog.figures(1 * second).age_seconds, 0);
}

TEST(Backlog, StaysRightWhenItMergesItsPieces) {
  Backlog backlog;
  constexpr std::uint64_t batches = 300'000;
  for (std::uint64_t i = 0; i < batches; ++i) backlog.add(batch(1 + 2 * i, 2, 512, i));
  EXPECT_EQ(backlog.figures(0).writes, 2 * batches);
  EXPECT_EQ(backlog.figures(0).bytes, 512 * batches);
  backlog.arrived(2 * batches);
  EXPECT_EQ(backlog.figures(0).bytes, 0u);
}

}  // namespace
}  // namespace cascade
