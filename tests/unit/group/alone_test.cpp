// SPDX-License-Identifier: GPL-2.0-or-later
//
// `fence-level never`: links that go silent in one direction or both, for shorter and longer than a
// lease, and a hub that stands still meanwhile. Primaries go on alone while the others stay
// synchronous, and nobody ever holds an effect without its cause. I2, I3, I6.
#include "tests/unit/group/virtual_cascade.hpp"
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

class LinksGoSilent : public testing::TestWithParam<int> {};

TEST_P(LinksGoSilent, AndNoEffectIsThereWithoutItsCause) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "LinksGoSilent"));
  Cascade cascade(seed, seed % 4 == 0 ? AckWhen::memory_sync : AckWhen::sync, FenceLevel::never);
  const auto examine = [&](const std::string& victim) {
    cascade.node(victim).kill(true);
    ASSERT_EQ(cascade.effect_without_cause(victim), "");
    cascade.live(20);
    cascade.node(victim).start();
  };
  for (int life = 0; life < 6; ++life) {
    cascade.live(300);
    const std::string primary = names[cascade.draw() % 2];
    const unsigned ways = 1 + cascade.draw() % 3;
    if (ways & 1) cascade.black_hole(primary, "h");
    if (ways & 2) cascade.black_hole("h", primary);
    if (cascade.draw() % 4 == 0) cascade.black_hole("h", "r");
    // Shorter than a lease: another primary is not alone when the hub goes on.
    cascade.live(120);
    if (cascade.draw() % 2 == 0) cascade.pause("h", 20 + cascade.draw() % 120);
    cascade.live(600);
    if (cascade.draw() % 3 == 0) examine(cascade.draw() % 2 == 0 ? "r" : "h");
    if (HasFatalFailure()) return;
    cascade.live(600);
    if (cascade.draw() % 4 == 0) {
      const std::size_t which = cascade.draw() % 2;
      cascade.cut_primary(which);
      cascade.live(60);
      cascade.node(names[which]).start();
    }
    if (cascade.draw() % 4 != 0) cascade.heal();
    cascade.live(100);
    examine(cascade.draw() % 2 == 0 ? "r" : "h");
    if (HasFatalFailure()) return;
  }
  cascade.heal();
  ASSERT_TRUE(cascade.drain());
  EXPECT_EQ(cascade.difference(), "");
  RecordProperty("alone", static_cast<int>(cascade.times_alone(0) + cascade.times_alone(1)));
}

INSTANTIATE_TEST_SUITE_P(Seeds, LinksGoSilent, testing::Range(1, 101));

}  // namespace
}  // namespace cascade::test
