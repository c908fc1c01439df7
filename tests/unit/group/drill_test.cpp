// SPDX-License-Identifier: GPL-2.0-or-later
// A drill begins and ends beside a group: its copies stand still for it at a whole point, and
// nothing is lost by that.
#include "tests/unit/group/virtual_cascade.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

class DrillTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(cascade.drain()) << "everybody runs"; }
  GroupNode& group(const std::string& name) { return **cascade.node(name).group().node(); }
  std::string state(const std::string& name) {
    const auto drill = group(name).status().drill;
    return drill ? drill->state : "";
  }
  void wait_held(const std::string& name) {
    for (int i = 0; i < 2000 && state(name) != "held"; ++i) cascade.go_on();
    ASSERT_EQ(state(name), "held");
  }
  Cascade cascade{7, AckWhen::sync};
};

TEST_F(DrillTest, HoldsTheCopiesOnceWhileEverythingElseGoesOn) {
  cascade.live(400);
  for (const char* name : {"h", "r"}) {
    const auto begun = group(name).begin_drill();
    ASSERT_TRUE(begun) << begun.error().text;
    wait_held(name);
  }
  const std::uint64_t at = group("r").status().journal->applied_seq;
  EXPECT_EQ(group("r").status().drill->as_of_seq, at);
  EXPECT_THAT(group("r").begin_drill().error().text, HasSubstr("just beginning"));
  EXPECT_THAT(group("r").takeover(false).error().text, HasSubstr("just beginning"));
  cascade.live(400);
  EXPECT_EQ(group("r").status().journal->applied_seq, at);
  EXPECT_GT(group("r").status().journal->stored_seq, at);
  for (const char* name : {"h", "r"}) {
    const auto gone_on = group(name).go_on_after_drill();
    EXPECT_TRUE(gone_on) << gone_on.error().text;
  }
  EXPECT_THAT(group("r").go_on_after_drill().error().text, HasSubstr("not held"));
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  EXPECT_EQ(state("r"), "");
  EXPECT_EQ(cascade.difference(), "");
}

TEST_F(DrillTest, TellsWhoeverComesTooLate) {
  cascade.live(100);
  ASSERT_TRUE(group("r").begin_drill());
  wait_held("r");
  cascade.run_for(seconds(31));
  EXPECT_EQ(state("r"), "");
  EXPECT_FALSE(group("r").go_on_after_drill());
}

TEST_F(DrillTest, IsForWhoeverHasCopies) {
  cascade.live(100);
  EXPECT_THAT(group("p1").begin_drill().error().text, HasSubstr("keeps no copies"));
  EXPECT_THAT(group("p1").end_drill().error().text, HasSubstr("keeps no copies"));
}

}  // namespace
}  // namespace cascade::test
