// SPDX-License-Identifier: GPL-2.0-or-later
//
// `fence-level witness`: a primary goes on alone only once the witness has let it, and a hub is
// promoted only if none has: never both from one history, whoever is cut off from whom, stands
// still or loses power meanwhile. I3, I5.
#include "tests/unit/group/virtual_cascade.hpp"
#include "tests/unit/seed.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

const std::vector<std::string> all_but_granted{"may-lack-writes", "still-connected"};

void cut(Cascade& cascade, const std::string& a, const std::string& b) {
  cascade.black_hole(a, b);
  cascade.black_hole(b, a);
}

/// Volumes that go on alone beside a promoted hub.
std::string split(Cascade& cascade) {
  if (cascade.takeover_state("h").empty()) return {};
  std::string out;
  for (const std::size_t which : {0, 1})
    if (cascade.alone(which)) out += std::string(names[which]) + " is alone; ";
  return out;
}

class WitnessedGroup : public testing::Test {
 protected:
  /// Both volumes are written.
  void go_on(int rounds = 2000) {
    for (int i = 0; i < rounds; ++i) {
      cascade.go_on();
      if (i % 2 == 0) cascade.depend(cascade.draw() % 2);
    }
  }
  /// What becomes of it; as of Errc::closed if nothing does.
  Result<api::Takeover> promote(std::vector<std::string> force) {
    for (int i = 0; i < 4000; ++i) {
      const auto node = cascade.node("h").group().node();
      if (node) {
        const auto told = (*node)->promote(false, force);
        if (!told || told->state != "asking") return told;
      }
      cascade.go_on();
    }
    return Error{Errc::closed, "it goes on asking"};
  }
  std::string reason_of(const std::string& primary) {
    std::string out;
    for (const auto& volume : cascade.node(primary).group().status().volumes)
      if (volume.role == "primary") out = volume.reason;
    return out;
  }
  std::string granted_by_remote() {
    const auto plan = (*cascade.node("r").group().node())->takeover(false);
    if (!plan) return plan.error().text;
    std::string out;
    for (const auto& doubt : plan->doubts)
      if (doubt.force == "not-granted") out += doubt.subject + ": " + doubt.text + "; ";
    return out;
  }
  Cascade cascade{7, AckWhen::sync, FenceLevel::witness};
};

TEST_F(WitnessedGroup, APrimaryGoesOnAloneOnceItIsLet) {
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  cut(cascade, "p1", "h");
  cut(cascade, "p1", "r");
  go_on();
  EXPECT_EQ(cascade.times_alone(0), 0u);
  cascade.heal();
  cut(cascade, "p1", "h");
  go_on();
  EXPECT_GT(cascade.times_alone(0), 0u) << reason_of("p1");
  cascade.heal();
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  EXPECT_EQ(cascade.difference(), "");
}

TEST_F(WitnessedGroup, AHubIsNotPromotedBesideOneThatIsAlone) {
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  cut(cascade, "p1", "h");
  go_on();
  ASSERT_GT(cascade.times_alone(0), 0u);
  const auto refused = promote(all_but_granted);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("the witness, r, does not grant it: it has let "
                                              "orders go on alone, the last of them at 20"));
  EXPECT_THAT(refused.error().text, HasSubstr("--force=not-granted"));
  EXPECT_EQ(cascade.takeover_state("h"), "");
  // It follows as before.
  cascade.heal();
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  const auto granted = promote(all_but_granted);
  ASSERT_TRUE(granted) << granted.error().text << ": orders has been back since";
}

TEST_F(WitnessedGroup, AWordGoesOverTheWitness) {
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  cut(cascade, "p1", "h");
  go_on();
  ASSERT_TRUE(cascade.alone(0));
  const auto told = promote({"may-lack-writes", "still-connected", "not-granted"});
  ASSERT_TRUE(told) << told.error().text;
}

TEST_F(WitnessedGroup, BesideAPromotedHubNoneGoesOnAlone) {
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  cut(cascade, "p1", "h");
  cut(cascade, "p1", "r");
  go_on();
  const auto granted = promote(all_but_granted);
  ASSERT_TRUE(granted) << granted.error().text;
  cascade.heal();
  cut(cascade, "p1", "h");
  go_on(4000);
  EXPECT_EQ(cascade.times_alone(0), 0u);
  EXPECT_THAT(reason_of("p1"),
              HasSubstr("the witness does not let it go on alone: the group was let be promoted"));
}

TEST_F(WitnessedGroup, AHubThatCanNotReachItsWitnessSaysSo) {
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  cut(cascade, "h", "r");
  const auto refused = promote(all_but_granted);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused) << refused.error().text;
  EXPECT_THAT(refused.error().text, HasSubstr("--force=not-granted"));
  const auto again = promote(all_but_granted);
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().text, HasSubstr("can't be told yet that this is over"));
  // What may have been granted is withdrawn as soon as it can hear of that: p1 may go on alone.
  cascade.heal();
  go_on();
  cut(cascade, "p1", "h");
  go_on();
  EXPECT_GT(cascade.times_alone(0), 0u) << reason_of("p1");
}

TEST_F(WitnessedGroup, ARemoteKnowsWhatItHasGranted) {
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  cut(cascade, "p1", "h");
  go_on();
  ASSERT_TRUE(cascade.alone(0));
  EXPECT_THAT(granted_by_remote(),
              HasSubstr("orders: as witness, this node has let it go on alone on p1 at 20"));
}

TEST_F(WitnessedGroup, AHubThatCrashedWhileItAskedTakesThatBack) {
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  const auto asked = (*cascade.node("h").group().node())->promote(false, all_but_granted);
  ASSERT_TRUE(asked) << asked.error().text;
  EXPECT_EQ(asked->state, "asking");
  for (int i = 0; i < 4000 && granted_by_remote().empty(); ++i) cascade.go_on();
  EXPECT_THAT(granted_by_remote(), HasSubstr("this node has let it be promoted on h"));
  ASSERT_EQ(cascade.takeover_state("h"), "") << "it does not know yet";
  cascade.node("h").kill(true);
  go_on(100);
  cascade.node("h").start();
  go_on();
  EXPECT_EQ(granted_by_remote(), "");
  cut(cascade, "p1", "h");
  go_on();
  EXPECT_GT(cascade.times_alone(0), 0u) << reason_of("p1");
}

class NeverBoth : public testing::TestWithParam<int> {};

TEST_P(NeverBoth, WhoeverIsCutOffOrLosesPower) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "NeverBoth"));
  Cascade cascade(seed, AckWhen::sync, FenceLevel::witness);
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  for (int life = 0; life < 12 && cascade.takeover_state("h").empty(); ++life) {
    cascade.live(200);
    if (cascade.draw() % 2 == 0) cut(cascade, names[cascade.draw() % 2], "h");
    if (cascade.draw() % 3 == 0) cut(cascade, names[cascade.draw() % 2], "r");
    if (cascade.draw() % 3 == 0) cut(cascade, "h", "r");
    cascade.live(1 + cascade.draw() % 1500);
    if (cascade.draw() % 2 == 0) {
      if (const auto node = cascade.node("h").group().node())
        (void)(*node)->promote(false, all_but_granted);
    }
    cascade.live(1 + cascade.draw() % 400);
    if (cascade.draw() % 3 == 0) {
      const std::string victim = cascade.draw() % 2 == 0 ? "h" : "r";
      cascade.node(victim).kill(true);
      cascade.live(1 + cascade.draw() % 200);
      cascade.node(victim).start();
    }
    if (cascade.draw() % 3 == 0) cascade.pause("r", 20 + cascade.draw() % 200);
    if (cascade.draw() % 3 != 0) cascade.heal();
  }
  cascade.heal();
  // Whatever is still under way comes to its end.
  for (int i = 0; i < 4000; ++i) cascade.go_on();
  EXPECT_EQ(split(cascade), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, NeverBoth, testing::Range(1, 61));

}  // namespace
}  // namespace cascade::test
