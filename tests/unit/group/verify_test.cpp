// SPDX-License-Identifier: GPL-2.0-or-later
//
// A volume is compared with its copies among the writes: no difference that is none, and none
// missed, whoever is cut off meanwhile.
#include "tests/unit/group/virtual_cascade.hpp"
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace cascade::test {
namespace {

GroupNode& part_of(Cascade& cascade, const std::string& node) {
  return **cascade.node(node).group().node();
}

/// Of the primary's one volume.
api::Verify verify_of(Cascade& cascade, const std::string& primary) {
  for (const api::Volume& volume : part_of(cascade, primary).status().volumes)
    if (volume.role == "primary" && volume.verify) return *volume.verify;
  return {};
}

std::string volume_of(Cascade& cascade, const std::string& primary) {
  for (const api::Volume& volume : part_of(cascade, primary).status().volumes)
    if (volume.role == "primary") return volume.name;
  return {};
}

/// What the copies say once it is over.
std::vector<api::Verify::Copy> verify(Cascade& cascade, const std::string& primary,
                                      bool repair = false, bool sure = false) {
  Verifier::Order order;
  order.repair = repair;
  order.sure = sure;
  EXPECT_TRUE(part_of(cascade, primary).begin_verify(volume_of(cascade, primary), order));
  for (int round = 0; round < 400 && verify_of(cascade, primary).state != "done"; ++round) {
    cascade.live(50);
    cascade.run_for(milliseconds(20));  // else the hub's copies are far behind its journal
  }
  EXPECT_EQ(verify_of(cascade, primary).state, "done");
  return verify_of(cascade, primary).copies;
}

TEST(Verify, FindsNothingAmongWritesWhereNothingDiffers) {
  Cascade cascade(1, AckWhen::sync);
  cascade.live(200);
  ASSERT_TRUE(cascade.drain());
  const auto copies = verify(cascade, "p1");
  ASSERT_EQ(copies.size(), 2u) << "hub and remote";
  for (const auto& copy : copies) {
    EXPECT_EQ(copy.compared_bytes, copy_bytes) << copy.node;
    EXPECT_EQ(copy.differing_bytes, 0u) << copy.node;
  }
  ASSERT_TRUE(cascade.drain());
  EXPECT_EQ(cascade.difference(), "");
}

/// A bit of each copy that the node has.
void damage(Cascade& cascade, const std::string& node, std::uint64_t at) {
  ASSERT_TRUE(cascade.drain());
  cascade.node(node).kill(true);
  for (auto& [path, image] : cascade.node(node).images)
    if (image.size() == copy_bytes) image[at] ^= std::byte{1};
  cascade.node(node).start();
  ASSERT_TRUE(cascade.drain());
}

bool says_that_a_copy_differs(Cascade& cascade, const std::string& node) {
  for (const api::Condition& condition : cascade.node(node).group().status().conditions)
    if (condition.code == "COPY_DIFFERS") return true;
  return false;
}

TEST(Verify, FindsWhatDiffersOnTheRemoteAlone) {
  Cascade cascade(2, AckWhen::sync);
  cascade.live(200);
  const std::uint64_t at = copy_bytes - 4096;  // where no write comes to
  damage(cascade, "r", at);
  const auto copies = verify(cascade, "p1");
  ASSERT_EQ(copies.size(), 2u);
  for (const auto& copy : copies) {
    ASSERT_EQ(copy.ranges.size(), copy.node == "r" ? 1u : 0u) << copy.node;
    if (copy.node != "r") continue;
    EXPECT_LE(copy.ranges[0].begin_bytes, at);
    EXPECT_GT(copy.ranges[0].begin_bytes + copy.ranges[0].bytes, at);
  }
  EXPECT_TRUE(says_that_a_copy_differs(cascade, "p1"));
}

TEST(Verify, RepairsWhatDiffersAndNothingElse) {
  Cascade cascade(6, AckWhen::sync);
  cascade.live(200);
  damage(cascade, "r", 4096);
  damage(cascade, "r", copy_bytes - 4096);
  damage(cascade, "h", copy_bytes / 2);
  const auto copies = verify(cascade, "p1", true);
  ASSERT_EQ(copies.size(), 2u);
  for (const auto& copy : copies) {
    EXPECT_EQ(copy.differing_bytes, 0u) << copy.node;
    EXPECT_TRUE(copy.ranges.empty()) << copy.node;
    EXPECT_GT(copy.repaired_bytes, 0u) << copy.node;
    EXPECT_LT(copy.repaired_bytes, copy_bytes) << copy.node;
    EXPECT_EQ(copy.compared_bytes, copy_bytes) << copy.node;
  }
  for (const std::string node : {"p1", "h", "r"})
    EXPECT_FALSE(says_that_a_copy_differs(cascade, node)) << node;
  // The other primary's copies were damaged as well.
  for (const auto& copy : verify(cascade, "p2", true)) EXPECT_GT(copy.repaired_bytes, 0u);
  ASSERT_TRUE(cascade.drain());
  EXPECT_EQ(cascade.difference(), "");
}

// As after damage to the primary's disk: the copies are good then.
TEST(Verify, WhatDiffersOnAllCopiesIsNotRepairedUnasked) {
  Cascade cascade(8, AckWhen::sync);
  cascade.live(100);
  damage(cascade, "h", copy_bytes - 4096);
  damage(cascade, "r", copy_bytes - 4096);
  damage(cascade, "r", 4096);
  for (const auto& copy : verify(cascade, "p1", true)) {
    EXPECT_EQ(copy.ranges.size(), 1u) << copy.node;
    EXPECT_EQ(copy.differing_bytes, verify_of(cascade, "p1").doubtful_bytes) << copy.node;
    EXPECT_EQ(copy.repaired_bytes > 0, copy.node == "r");
  }
  EXPECT_TRUE(says_that_a_copy_differs(cascade, "p1"));
  for (const auto& copy : verify(cascade, "p1", true)) {
    EXPECT_GT(copy.differing_bytes, 0u) << copy.node;
    EXPECT_EQ(copy.repaired_bytes, 0u) << copy.node;
  }
  for (const auto& copy : verify(cascade, "p1", true, true)) {
    EXPECT_EQ(copy.differing_bytes, 0u) << copy.node;
    EXPECT_GT(copy.repaired_bytes, 0u) << copy.node;
  }
  EXPECT_EQ(verify_of(cascade, "p1").doubtful_bytes, 0u);
  EXPECT_FALSE(says_that_a_copy_differs(cascade, "p1"));
}

TEST(Verify, ARepairThatIsStoppedHasRepairedNothing) {
  Cascade cascade(7, AckWhen::sync);
  cascade.live(100);
  damage(cascade, "r", 4096);
  // Slow enough that there is a middle.
  ASSERT_TRUE(part_of(cascade, "p1")
                  .begin_verify(volume_of(cascade, "p1"), {0, copy_bytes / 2, true, false, {}}));
  for (int round = 0; round < 800 && verify_of(cascade, "p1").state != "repairing"; ++round)
    cascade.run_for(milliseconds(20));
  ASSERT_EQ(verify_of(cascade, "p1").state, "repairing");
  ASSERT_TRUE(part_of(cascade, "p1").end_verify(volume_of(cascade, "p1")));
  EXPECT_TRUE(says_that_a_copy_differs(cascade, "p1"));
  const auto copies = verify(cascade, "p1", true);
  for (const auto& copy : copies) EXPECT_EQ(copy.differing_bytes, 0u) << copy.node;
  EXPECT_FALSE(says_that_a_copy_differs(cascade, "p1"));
}

// It has forgotten, and has been told already.
TEST(Verify, RemembersWhatANodeFoundBeforeItBeganAnew) {
  Cascade cascade(5, AckWhen::sync);
  cascade.live(200);
  damage(cascade, "h", 4096 * 2);
  // Slow enough that there is a middle.
  ASSERT_TRUE(part_of(cascade, "p1").begin_verify(volume_of(cascade, "p1"), {0, copy_bytes / 2}));
  const auto hub = [&] {
    const auto copies = verify_of(cascade, "p1").copies;
    const auto at = std::find_if(copies.begin(), copies.end(),
                                 [](const auto& copy) { return copy.node == "h"; });
    return at == copies.end() ? api::Verify::Copy{} : *at;
  };
  for (int round = 0; round < 200 && hub().differing_bytes == 0; ++round)
    cascade.run_for(milliseconds(20));
  ASSERT_GT(hub().differing_bytes, 0u);
  ASSERT_EQ(verify_of(cascade, "p1").state, "running");
  cascade.node("h").kill(false);
  cascade.run_for(milliseconds(100));
  cascade.node("h").start();
  for (int round = 0; round < 800 && verify_of(cascade, "p1").state != "done"; ++round)
    cascade.run_for(milliseconds(20));
  EXPECT_EQ(verify_of(cascade, "p1").state, "done");
  EXPECT_GT(hub().compared_bytes, copy_bytes / 2);
  EXPECT_EQ(hub().ranges.size(), 1u);
}

/// The hub's or the remote's daemon goes away for a while, or its machine does.
void cut_off_one(Cascade& cascade) {
  cascade.live(1 + cascade.draw() % 150);
  const std::string other = cascade.draw() % 2 == 0 ? "h" : "r";
  cascade.node(other).kill(cascade.draw() % 2 == 0);
  cascade.live(1 + cascade.draw() % 50);
  cascade.node(other).start();
  cascade.live(1 + cascade.draw() % 150);
}

class VerifyIsCutOff : public testing::TestWithParam<int> {};

TEST_P(VerifyIsCutOff, AndFindsNoDifferenceThatIsNone) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "VerifyIsCutOff"));
  Cascade cascade(seed, seed % 2 == 0 ? AckWhen::sync : AckWhen::memory_sync);
  cascade.live(100);
  for (int life = 0; life < 6; ++life) {
    ASSERT_TRUE(cascade.drain());
    (void)part_of(cascade, "p1").begin_verify(volume_of(cascade, "p1"), {});
    cut_off_one(cascade);
    for (const auto& copy : verify_of(cascade, "p1").copies)
      ASSERT_EQ(copy.differing_bytes, 0u) << copy.node;
  }
  ASSERT_TRUE(cascade.drain());
  for (const auto& copy : verify_of(cascade, "p1").copies)
    EXPECT_EQ(copy.differing_bytes, 0u) << copy.node;
  EXPECT_EQ(cascade.difference(), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, VerifyIsCutOff, testing::Range(1, 21));

class RepairIsCutOff : public testing::TestWithParam<int> {};

TEST_P(RepairIsCutOff, AndTheNextOneIsWhole) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "RepairIsCutOff"));
  Cascade cascade(seed, seed % 2 == 0 ? AckWhen::sync : AckWhen::memory_sync);
  cascade.live(100);
  Verifier::Order order;
  order.repair = true;
  order.sure = true;
  for (int life = 0; life < 3; ++life) {
    for (const std::string node : {"h", "r"}) damage(cascade, node, cascade.draw() % copy_bytes);
    (void)part_of(cascade, "p1").begin_verify(volume_of(cascade, "p1"), order);
    cut_off_one(cascade);
  }
  ASSERT_TRUE(cascade.drain());
  for (const std::string primary : {"p1", "p2"}) {
    (void)part_of(cascade, primary).end_verify(volume_of(cascade, primary));
    for (const auto& copy : verify(cascade, primary, true, true))
      EXPECT_EQ(copy.differing_bytes, 0u) << primary << ": " << copy.node;
  }
  ASSERT_TRUE(cascade.drain());
  EXPECT_EQ(cascade.difference(), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, RepairIsCutOff, testing::Range(1, 21));

TEST(Verify, IsRefusedWhereItCannotBe) {
  Cascade cascade(3, AckWhen::sync);
  ASSERT_TRUE(cascade.drain());
  const std::string name = volume_of(cascade, "p1");
  EXPECT_FALSE(part_of(cascade, "p2").begin_verify(name, {})) << "another node's";
  EXPECT_FALSE(part_of(cascade, "p1").begin_verify("nosuch", {}));
  EXPECT_FALSE(part_of(cascade, "p1").begin_verify(name, {1000})) << "in a block";
  EXPECT_FALSE(part_of(cascade, "p1").begin_verify(name, {copy_bytes})) << "behind its end";
  EXPECT_FALSE(part_of(cascade, "p1").end_verify(name)) << "none goes on";
  ASSERT_TRUE(part_of(cascade, "p1").begin_verify(name, {}));
  EXPECT_FALSE(part_of(cascade, "p1").begin_verify(name, {})) << "one goes on";
  EXPECT_TRUE(part_of(cascade, "p1").end_verify(name));
  EXPECT_EQ(verify_of(cascade, "p1").state, "stopped");
}

}  // namespace
}  // namespace cascade::test
