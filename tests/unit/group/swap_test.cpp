// SPDX-License-Identifier: GPL-2.0-or-later
//
// A node that keeps a journal keeps it for others from now on: it begins anew with what its copies
// hold, so that whoever has the same follows without being compared, and nobody else does. I5.
#include "tests/unit/group/virtual_cascade.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

class SwapTest : public testing::Test {
 protected:
  void SetUp() override {
    go_on(2000);
    ASSERT_TRUE(cascade.drain()) << cascade.figures();
  }
  void go_on(int rounds) {
    for (int i = 0; i < rounds; ++i) cascade.go_on();
  }
  GroupNode* group(const std::string& name) {
    const auto node = cascade.node(name).group().node();
    return node ? *node : nullptr;
  }
  std::string refusal(const std::string& name) {
    const auto done = group(name)->swap();
    return done ? "done" : done.error().text;
  }
  void lose_primaries() {
    for (const char* name : {"p1", "p2"}) cascade.node(name).kill(true);
    cascade.run_for(std::chrono::seconds(3));
  }
  /// Both have swapped, and whether the remote follows the hub.
  api::Link swap_both() {
    EXPECT_EQ(refusal("h"), "done");
    cascade.run_for(std::chrono::seconds(3));
    EXPECT_EQ(refusal("r"), "done");
    cascade.run_for(std::chrono::seconds(3));
    return group("r")->status().links.front();
  }
  Cascade cascade{11, AckWhen::sync};
};

TEST_F(SwapTest, WhoHasTheSameFollowsWithoutBeingCompared) {
  lose_primaries();
  const auto before = group("h")->status();
  const api::Link link = swap_both();
  EXPECT_EQ(link.state, "connected") << link.reason;
  const auto after = group("h")->status();
  EXPECT_EQ(after.journal->received_seq, 0u);
  EXPECT_EQ(after.volumes.front().stored_seq, before.volumes.front().stored_seq);
  EXPECT_EQ(after.volumes.front().generation, before.volumes.front().generation);
  EXPECT_EQ(after.remote->same_bytes, 0u);
  EXPECT_FALSE(after.remote->replacing);
  EXPECT_EQ(cascade.difference(), "");
}

TEST_F(SwapTest, WhoHasLessIsRefusedThough) {
  cascade.node("r").kill(true);
  cascade.live(500);
  cascade.run_for(std::chrono::seconds(1));
  lose_primaries();
  cascade.node("r").start();
  cascade.black_hole("h", "r");
  cascade.run_for(std::chrono::seconds(3));
  const api::Link link = swap_both();
  cascade.heal();
  cascade.run_for(std::chrono::seconds(3));
  const api::Link healed = group("r")->status().links.front();
  EXPECT_EQ(healed.state, "down");
  EXPECT_THAT(group("h")->status().links.back().reason, HasSubstr("holds another history"));
}

TEST_F(SwapTest, WhoFollowsSomebodyDoesNotBeginAnew) {
  EXPECT_THAT(refusal("r"), HasSubstr("h is connected"));
  EXPECT_THAT(refusal("h"), HasSubstr("is connected"));
  EXPECT_THAT(refusal("p1"), HasSubstr("does not follow"));
}

TEST_F(SwapTest, NorDoesOneWhoseCopiesLackWhatItsJournalHas) {
  cascade.node("h").fail_disk("orders", MemoryDisk::Fault::writes);
  cascade.live(500);
  cascade.run_for(std::chrono::seconds(1));
  lose_primaries();
  EXPECT_THAT(refusal("h"), HasSubstr("writes of the journal are not in the copies"));
}

}  // namespace
}  // namespace cascade::test
