// SPDX-License-Identifier: GPL-2.0-or-later
//
// What may differ between a primary and the hub is compared before it is copied, among the writes,
// and whoever loses power meanwhile. I2, I3, I6.
#include "tests/unit/group/virtual_cascade.hpp"
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

constexpr unsigned regions = VirtualVolume::sectors / VirtualVolume::region_sectors;

/// A volume of which nobody knows what is the same, under writers.
unsigned copied_of_a_doubted_volume(bool compares) {
  Cascade cascade(1, AckWhen::sync);
  if (!compares) cascade.without_comparison(0);
  cascade.live(400);
  EXPECT_TRUE(cascade.drain());
  cascade.cut_primary(0);
  cascade.doubt(0);
  const unsigned before = cascade.copied(0);
  cascade.node("p1").start();
  cascade.live(400);
  EXPECT_TRUE(cascade.drain());
  EXPECT_EQ(cascade.difference(), "");
  return cascade.copied(0) - before;
}

TEST(ADoubtedVolume, IsComparedAndOnlyWhatDiffersIsCopied) {
  EXPECT_LT(copied_of_a_doubted_volume(true), regions / 8);
}

TEST(ADoubtedVolume, IsCopiedWholeByAModuleThatCannotCompare) {
  EXPECT_GE(copied_of_a_doubted_volume(false), regions);
}

class PrimaryIsCompared : public testing::TestWithParam<int> {};

TEST_P(PrimaryIsCompared, WhileNodesLosePower) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "PrimaryIsCompared"));
  Cascade cascade(seed, seed % 2 == 0 ? AckWhen::sync : AckWhen::memory_sync);
  for (int life = 0; life < 8; ++life) {
    cascade.live(200);
    const std::size_t which = cascade.draw() % 2;
    // What the hub has received, and not applied, the primary may have lost.
    if (cascade.draw() % 2 == 0) cascade.pause("h", cascade.draw() % 60);
    cascade.cut_primary(which);
    if (cascade.draw() % 2 == 0) cascade.doubt(which);
    cascade.live(1 + cascade.draw() % 60);
    cascade.node(names[which]).start();
    cascade.live(1 + cascade.draw() % 200);
    if (cascade.draw() % 2 == 0) continue;
    const std::string other = cascade.draw() % 2 == 0 ? "h" : "r";
    cascade.node(other).kill(true);
    ASSERT_EQ(cascade.effect_without_cause(other), "");
    cascade.live(20);
    cascade.node(other).start();
  }
  ASSERT_TRUE(cascade.drain());
  EXPECT_EQ(cascade.difference(), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, PrimaryIsCompared, testing::Range(1, 41));

}  // namespace
}  // namespace cascade::test
