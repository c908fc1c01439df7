// SPDX-License-Identifier: GPL-2.0-or-later
// How long writes were on their way, by a clock that a test moves.
#include "daemon/path/transit.hpp"
#include "tests/double/virtual_clock.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

using std::chrono::microseconds;

class TransitTest : public testing::Test {
 protected:
  Record issued(std::uint64_t seq, std::uint8_t flags = 0, std::uint8_t op = CASCADE_OP_WRITE) {
    Record record = make_record(seq, {}, 0, volume_a, op);
    record.flags = flags;
    record.primary_time_ns = htole64(clock.realtime_ns());
    return record;
  }
  void pass(int us) { clock.advance(microseconds(us)); }
  static std::uint64_t count(const LatencyHistogram& histogram) {
    std::uint64_t all = 0;
    for (const std::uint64_t one : histogram.counts()) all += one;
    return all;
  }

  asio::io_context io;
  VirtualClock clock{io.get_executor()};
  Transit::Latencies latencies;
  Transit transit{clock, latencies};
};

TEST_F(TransitTest, KnowsEachPartOfTheWay) {
  std::vector<Record> records{issued(1)};
  pass(10);
  records.push_back(issued(2));
  pass(10);
  transit.taken(records);
  EXPECT_EQ(count(latencies.ring), 2u);
  EXPECT_EQ(latencies.ring.sum(), microseconds(20 + 10));
  pass(100);
  transit.arrived(1);
  EXPECT_EQ(count(latencies.write), 0u) << "a frame counts as a whole";
  transit.arrived(2);
  EXPECT_EQ(count(latencies.hub), 2u);
  EXPECT_EQ(latencies.hub.sum(), microseconds(2 * 100));
  EXPECT_EQ(latencies.write.sum(), microseconds(2 * 120)) << "by the oldest of the frame";
  transit.arrived(2);
  EXPECT_EQ(count(latencies.hub), 2u);
}

TEST_F(TransitTest, LeavesOutWhatNobodyWaitsFor) {
  const std::vector<Record> records{issued(1, CASCADE_FLAG_RESYNC), issued(2, 0, CASCADE_OP_NOOP),
                                    issued(3)};
  transit.taken(records);
  transit.taken(std::vector{issued(4, CASCADE_FLAG_RESYNC)});
  transit.arrived(4);
  EXPECT_EQ(count(latencies.ring), 1u);
  EXPECT_EQ(count(latencies.write), 1u);
}

TEST_F(TransitTest, CountsWhatIsSentAgainOnce) {
  const std::vector<Record> records{issued(1)};
  transit.taken(records);
  transit.forget();
  pass(1000);
  transit.arrived(0);
  transit.taken(records);
  pass(10);
  transit.arrived(1);
  EXPECT_EQ(count(latencies.ring), 1u);
  EXPECT_EQ(count(latencies.hub), 1u);
  EXPECT_EQ(latencies.hub.sum(), microseconds(10));
  EXPECT_EQ(latencies.write.sum(), microseconds(1010));
}

TEST_F(TransitTest, IsNotLedAstrayByWhoSetsTheDate) {
  const std::vector<Record> records{issued(1)};
  clock.step_realtime(-std::chrono::hours(1));
  transit.taken(records);
  pass(10);
  transit.arrived(1);
  EXPECT_EQ(latencies.write.sum(), microseconds(0));
  EXPECT_EQ(latencies.hub.sum(), microseconds(10));
}

TEST_F(TransitTest, IsBounded) {
  for (std::uint64_t seq = 1; seq <= 100'000; ++seq) transit.taken(std::vector{issued(seq)});
  transit.arrived(100'000);
  EXPECT_EQ(count(latencies.ring), 100'000u);
  EXPECT_GT(count(latencies.hub), 0u);
}

}  // namespace
}  // namespace cascade::test
