// SPDX-License-Identifier: GPL-2.0-or-later
//
// The lease's arithmetic: whatever happens to renewals and echoes on their way, the hub's end of a
// lease comes before the primary's. I6, I3.
#include "daemon/path/lease.hpp"
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

#include <list>
#include <random>

namespace cascade::test {
namespace {

using std::chrono::milliseconds;

constexpr Duration lease = milliseconds(5000);
const Uuid volume = make_uuid();

TEST(Renewal, CountsFromItsMakingWhenItIsEchoed) {
  Renewals renewals;
  EXPECT_EQ(renewals.make(milliseconds(10)), 1u);
  EXPECT_EQ(renewals.make(milliseconds(20)), 2u);
  EXPECT_EQ(renewals.echoed(2), milliseconds(20));
}

TEST(Renewal, IsNoNewsTwiceNorOutOfOrderNorIfNobodyMadeIt) {
  Renewals renewals;
  for (int i = 1; i <= 3; ++i) (void)renewals.make(milliseconds(i));
  EXPECT_TRUE(renewals.echoed(2));
  EXPECT_FALSE(renewals.echoed(2));
  EXPECT_FALSE(renewals.echoed(1));
  EXPECT_FALSE(renewals.echoed(4));
  EXPECT_FALSE(renewals.echoed(0));
  EXPECT_TRUE(renewals.echoed(3));
}

TEST(Renewal, StopsBeingMadeWhileNobodyAnswers) {
  Renewals renewals;
  std::uint64_t last = 0;
  for (int i = 0; i < 10'000; ++i) last = renewals.make(milliseconds(i));
  EXPECT_LT(last, 1000u);
  EXPECT_LT(*renewals.echoed(last), milliseconds(1000));
  EXPECT_EQ(renewals.make(milliseconds(20'000)), last + 1);
}

TEST(Lease, IsNeverShortened) {
  Leases leases;
  leases.extend(volume, milliseconds(50));
  leases.extend(volume, milliseconds(40));
  EXPECT_EQ(leases.until(volume), milliseconds(50));
  EXPECT_TRUE(leases.take_expired(milliseconds(49)).empty());
  EXPECT_EQ(leases.take_expired(milliseconds(50)).size(), 1u);
  EXPECT_TRUE(leases.take_expired(milliseconds(60)).empty());
}

/// A link that delays, loses and holds back, and two machines that pause, sleep, and whose clocks
/// differ in speed.
class LeaseWorld {
 public:
  explicit LeaseWorld(unsigned seed) : lots_(seed), hub_speed_(speed()), primary_speed_(speed()) {
    leases_.extend(volume, hub_now() + lease);
    to_primary_.push_back({0, renewals_.make(hub_now())});
  }

  void go_on() {
    ms_ += lots_() % 400;
    if (lots_() % 50 == 0) hub_paused_ = ms_ + lots_() % 20'000;
    if (lots_() % 50 == 0) primary_paused_ = ms_ + lots_() % 20'000;
    if (ms_ >= hub_paused_) hub();
    if (ms_ >= primary_paused_) primary();
    // The kernel is never paused without its clock going on.
    if (kernel_until_ && primary_now() >= *kernel_until_) alone_ = true;
  }
  bool alone() const { return alone_; }
  /// Whether the hub would still take the volume's writes, if it ran now.
  bool in_force() const { return leases_.until(volume) && hub_now() < *leases_.until(volume); }

 private:
  struct Message {
    std::uint64_t arrives, number;
  };

  double speed() { return 1.0 + (static_cast<double>(lots_() % 2001) - 1000) / 1e6; }
  Duration hub_now() const { return scaled(hub_speed_) + std::chrono::hours(7); }
  Duration primary_now() const { return scaled(primary_speed_); }
  Duration scaled(double by) const {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(ms_) * 1e6 * by));
  }
  void send(std::list<Message>& way, std::uint64_t number) {
    if (lots_() % 8 == 0) return;
    const std::uint64_t after = way.empty() ? 0 : way.back().arrives;
    way.push_back(
        {std::max(after, ms_ + (lots_() % 10 == 0 ? lots_() % 30'000 : lots_() % 50)), number});
  }
  template <class F>
  void receive(std::list<Message>& way, F take) {
    for (; !way.empty() && way.front().arrives <= ms_; way.pop_front()) take(way.front().number);
  }

  void hub() {
    if (!leases_.take_expired(hub_now()).empty()) return;
    if (!leases_.until(volume)) return;
    receive(to_hub_, [&](std::uint64_t number) {
      if (const auto then = renewals_.echoed(number)) leases_.extend(volume, *then + lease);
    });
    send(to_primary_, renewals_.make(hub_now()));
  }
  void primary() {
    receive(to_primary_, [&](std::uint64_t number) {
      if (alone_) return;
      kernel_until_ = primary_now() + lease + lease_margin(lease);
      send(to_hub_, number);
    });
  }

  std::mt19937 lots_;
  double hub_speed_, primary_speed_;
  std::uint64_t ms_ = 1, hub_paused_ = 0, primary_paused_ = 0;
  Renewals renewals_;
  Leases leases_;
  std::list<Message> to_primary_, to_hub_;
  std::optional<Duration> kernel_until_;
  bool alone_ = false;
};

class LeaseSeeds : public testing::TestWithParam<int> {};

TEST_P(LeaseSeeds, HubIsDoneWithItBeforeAnybodyIsAlone) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "LeaseSeeds"));
  LeaseWorld world(seed);
  for (int i = 0; i < 20'000 && !world.alone(); ++i) {
    world.go_on();
    ASSERT_FALSE(world.alone() && world.in_force());
  }
  EXPECT_TRUE(world.alone());
}

INSTANTIATE_TEST_SUITE_P(Seeds, LeaseSeeds, testing::Range(1, 101));

}  // namespace
}  // namespace cascade::test
