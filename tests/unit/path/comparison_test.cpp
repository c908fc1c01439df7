// SPDX-License-Identifier: GPL-2.0-or-later
//
// A primary that compares with the hub's copy, played by the test, before it copies. I2, I6.
#include "daemon/path/comparison.hpp"
#include "tests/double/virtual_node.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace cascade::test {
namespace {

constexpr std::uint64_t region_bytes = VirtualVolume::region_sectors * CASCADE_SECTOR_BYTES;
constexpr std::uint64_t regions = VirtualVolume::sectors / VirtualVolume::region_sectors;

class ComparisonTest : public testing::Test {
 protected:
  ComparisonTest() {
    auto owned = std::make_unique<VirtualVolume>(volume_a);
    volume = owned.get();
    kernel[volume_a] = std::move(owned);
    const auto content = pattern(volume->disk.size(), 7);
    std::copy(content.begin(), content.end(), volume->disk.begin());
    copy = volume->disk;
    ring = std::move(*host.attach(volume_a));
    EXPECT_TRUE(ring->start(0, group));
    comparison.emplace(world.executor, world.clock, *ring, volume_a, work);
    crew.add(comparison->run());
    volume->doubt_all();
  }
  ~ComparisonTest() override { world.io.abandon(); }

  void change(std::uint64_t region) { copy[region * region_bytes] ^= std::byte{1}; }
  Sum sum_of(const Ask& ask) const {
    return {ask, content_sum(std::span(copy).subspan(ask.begin, ask.bytes))};
  }
  std::vector<Ask> asked() {
    world.settle();
    return comparison->questions().send();
  }
  void answer(const std::vector<Ask>& asks) {
    for (const Ask& ask : asks) ASSERT_TRUE(comparison->answered(sum_of(ask)));
    world.settle();
  }
  /// As a hub that answers everything; how much was asked.
  std::size_t answer_all() {
    std::size_t count = 0;
    for (auto asks = asked(); !asks.empty(); asks = asked()) {
      count += asks.size();
      answer(asks);
    }
    return count;
  }
  /// Regions that the kernel copies until it has nothing to do.
  unsigned copied() {
    for (std::uint64_t region = 0; region <= regions; ++region) volume->step();
    return volume->copied;
  }

  World world;
  VirtualRings::Volumes kernel;
  VirtualRings host{world.executor, kernel};
  VirtualVolume* volume = nullptr;
  std::vector<std::byte> copy;  // the hub's
  std::unique_ptr<Ring> ring;
  Signal work{world.executor};
  std::optional<Comparison> comparison;
  Crew crew{world.executor};
};

TEST_F(ComparisonTest, WhatIsTheSameIsNotCopied) {
  change(3);
  change(100);
  comparison->begin(8);
  EXPECT_EQ(answer_all(), regions);
  EXPECT_EQ(copied(), 2u);
  EXPECT_EQ(comparison->same_bytes(), (regions - 2) * region_bytes);
  EXPECT_EQ(volume->resync_until, Ring::no_limit) << "the kernel may say that all is the same";
}

TEST_F(ComparisonTest, WhatDiffersIsCopiedBehindTheComparison) {
  change(1);
  change(20);
  comparison->begin(4);
  const auto first = asked();
  ASSERT_EQ(first.size(), 4u);
  EXPECT_FALSE(volume->resync_wanted) << "nothing is known to differ";
  answer(first);
  EXPECT_TRUE(volume->resync_wanted);
  EXPECT_EQ(volume->resync_until, 4 * VirtualVolume::region_sectors);
  EXPECT_EQ(copied(), 1u) << "the rest may be the same";
  (void)answer_all();
  EXPECT_EQ(copied(), 2u);
}

TEST_F(ComparisonTest, WhatIsDoubtedMeanwhileIsCopied) {
  comparison->begin(64);
  const auto first = asked();
  ++volume->doubts;
  answer(first);
  EXPECT_EQ(comparison->same_bytes(), 0u);
  (void)answer_all();
  EXPECT_EQ(copied(), first.size());
}

TEST_F(ComparisonTest, WithACopyThatCannotBeComparedAllIsCopied) {
  comparison->begin(4);
  const auto first = asked();
  ASSERT_TRUE(comparison->answered(sum_of(first[0])));
  ASSERT_TRUE(comparison->answered({first[1]}));
  world.settle();
  EXPECT_TRUE(volume->resync_wanted);
  EXPECT_EQ(volume->resync_until, Ring::no_limit);
  EXPECT_TRUE(asked().empty());
  EXPECT_EQ(comparison->same_bytes(), region_bytes);
  EXPECT_TRUE(comparison->answered(sum_of(first[2]))) << "asked before that, in this session";
  EXPECT_EQ(comparison->same_bytes(), region_bytes);
}

TEST_F(ComparisonTest, AnAnswerOfAnEarlierSessionIsNone) {
  comparison->begin(4);
  const auto before = asked();
  comparison->end();
  EXPECT_TRUE(asked().empty());
  comparison->begin(4);
  const auto after = asked();
  EXPECT_EQ(before, after) << "it begins anew";
  // As it was when the first session asked; now the copy is another one.
  change(0);
  answer(after);
  EXPECT_FALSE(comparison->answered(sum_of(before[0]))) << "nobody has asked that any more";
  EXPECT_EQ(comparison->same_bytes(), 3 * region_bytes);
}

TEST_F(ComparisonTest, WithoutAnythingOutOfSyncItEndsAtOnce) {
  for (std::uint64_t region = 0; region < regions; ++region)
    ASSERT_TRUE(ring->same(
        {Peeked::Found::region, region * VirtualVolume::region_sectors, 0, 0, volume->doubts}));
  comparison->begin(4);
  EXPECT_TRUE(asked().empty());
  EXPECT_EQ(volume->resync_until, Ring::no_limit);
  EXPECT_TRUE(volume->resync_wanted);
}

// The writers' disk is not read all the time.
TEST_F(ComparisonTest, RestsBesideWriters) {
  volume->peek_takes = [this] { world.clock.advance(std::chrono::milliseconds(10)); };
  comparison->begin(8);
  EXPECT_EQ(asked().size(), 8u);
  comparison->end();
  volume->write(0, pattern(512, 1));
  ASSERT_TRUE(ring->view().has_records()) << "as whoever sends them looks";
  comparison->begin(8);
  EXPECT_EQ(asked().size(), 1u);
  world.clock.advance(std::chrono::milliseconds(19));
  EXPECT_TRUE(asked().empty());
  world.clock.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(asked().size(), 7u) << "nobody has written since";
}

TEST_F(ComparisonTest, StopsWithItsRing) {
  comparison->begin(4);
  const auto first = asked();
  comparison->stop();
  world.settle();
  EXPECT_TRUE(comparison->answered(sum_of(first[0]))) << "the session has not ended yet";
  EXPECT_EQ(crew.running(), 0u);
}

}  // namespace
}  // namespace cascade::test
