// SPDX-License-Identifier: GPL-2.0-or-later
//
// Two applications whose writes depend on each other, and a hub that loses power again and again:
// at every moment hub and remote recover to a state with no effect without its cause. I3, P1.
#include "tests/unit/group/virtual_cascade.hpp"
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

class HubLosesPower : public testing::TestWithParam<int> {};

TEST_P(HubLosesPower, AndNoEffectIsThereWithoutItsCause) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "HubLosesPower"));
  Cascade cascade(seed, seed % 4 == 0 ? AckWhen::sync : AckWhen::memory_sync);
  for (int life = 0; life < 6; ++life) {
    for (unsigned i = cascade.draw() % 400; i > 0; --i) {
      cascade.go_on();
      if (i % 3 == 0) cascade.depend(cascade.draw() % 2);
    }
    const std::string victim = cascade.draw() % 3 == 0 ? "r" : "h";
    cascade.node(victim).kill(true);
    ASSERT_EQ(cascade.effect_without_cause(victim), "");
    for (unsigned i = cascade.draw() % 40; i > 0; --i) cascade.go_on();
    cascade.node(victim).start();
    // A short life: into the middle of what is sent again.
    for (unsigned i = cascade.draw() % 60; i > 0; --i) {
      cascade.go_on();
      cascade.depend(cascade.draw() % 2);
    }
    cascade.node("r").kill(true);
    ASSERT_EQ(cascade.effect_without_cause("r"), "");
    cascade.node("r").start();
  }
  ASSERT_TRUE(cascade.drain());
  EXPECT_EQ(cascade.difference(), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, HubLosesPower, testing::Range(1, 41));

class PrimaryLosesPower : public testing::TestWithParam<int> {};

// P9, I2, I6: what a primary had under way is copied afterwards, whatever became of it on its disk;
// anybody else may lose power in the middle.
TEST_P(PrimaryLosesPower, AndWhatMayDifferIsCopied) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "PrimaryLosesPower"));
  Cascade cascade(seed, seed % 2 == 0 ? AckWhen::sync : AckWhen::memory_sync);
  for (int life = 0; life < 6; ++life) {
    cascade.live(300);
    const std::size_t which = cascade.draw() % 2;
    cascade.cut_primary(which);
    cascade.live(60);
    cascade.node(names[which]).start();
    cascade.live(60);
    const std::string victim = cascade.draw() % 2 == 0 ? "r" : "h";
    cascade.node(victim).kill(true);
    ASSERT_EQ(cascade.effect_without_cause(victim), "");
    cascade.live(20);
    cascade.node(victim).start();
  }
  ASSERT_TRUE(cascade.drain());
  EXPECT_EQ(cascade.difference(), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, PrimaryLosesPower, testing::Range(1, 61));

}  // namespace
}  // namespace cascade::test
