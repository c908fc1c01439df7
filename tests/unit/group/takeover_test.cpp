// SPDX-License-Identifier: GPL-2.0-or-later
//
// A hub or remote is promoted: at every moment, whoever loses power meanwhile, its copies are
// handed over as an image of one moment that does not lack more than was said; and whoever comes
// back with the history before is refused by both names. I1, I3, I5.
#include "tests/unit/group/virtual_cascade.hpp"
#include "tests/unit/seed.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::vector<std::string> all_doubts{"may-lack-writes", "still-connected"};

/// As soon as the group runs on the node.
Result<api::Takeover> promote(Cascade& cascade, const std::string& name, bool newest,
                              const std::vector<std::string>& force) {
  for (int i = 0; i < 4000; ++i) {
    if (const auto node = cascade.node(name).group().node()) return (*node)->promote(newest, force);
    cascade.go_on();
  }
  return Error{Errc::refused, "the group does not run"};
}

bool finish(Cascade& cascade, const std::string& name) {
  for (int i = 0; i < 8000 && cascade.takeover_state(name) != "promoted"; ++i) cascade.go_on();
  return cascade.takeover_state(name) == "promoted";
}

class TakeoverTest : public testing::Test {
 protected:
  void go_on(int rounds = 2000) {
    for (int i = 0; i < rounds; ++i) cascade.go_on();
  }
  void kill(std::initializer_list<const char*> names) {
    for (const char* name : names) cascade.node(name).kill(true);
  }
  Cascade cascade{11, AckWhen::sync};
};

TEST_F(TakeoverTest, AHubWhosePrimariesAreGoneLacksNothing) {
  go_on();
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  kill({"p1", "p2"});
  cascade.run_for(std::chrono::seconds(20));
  const auto told = promote(cascade, "h", false, {});
  ASSERT_TRUE(told) << told.error().text;
  EXPECT_EQ(told->state, "promoting");
  EXPECT_NE(told->generation, "");
  // What it was told to hand over is not what `bracket apply` would make of it.
  EXPECT_THAT((*cascade.node("h").group().node())->apply_bracket().error().text,
              HasSubstr("was promoted"));
  cascade.run_for(std::chrono::seconds(2));
  ASSERT_EQ(cascade.takeover_state("h"), "promoted");
  const auto again = promote(cascade, "h", false, {});
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_EQ(again->generation, told->generation);
  EXPECT_EQ(cascade.difference(), "");
}

TEST_F(TakeoverTest, WhoIsConnectedIsNamedFirst) {
  go_on();
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  for (const char* name : {"h", "r"}) {
    const auto told = promote(cascade, name, false, {"may-lack-writes"});
    ASSERT_FALSE(told);
    EXPECT_EQ(told.error().code, Errc::refused);
    EXPECT_THAT(told.error().text, HasSubstr("--force=still-connected"));
    EXPECT_EQ(cascade.takeover_state(name), "") << "nothing was done";
  }
  const auto nothing = promote(cascade, "p1", false, all_doubts);
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.error().text, HasSubstr("promote it on its hub, h, or its remote, r"));
}

/// Under `never` a primary that was cut off may have gone on alone: hub and remote say so, and as
/// of where the copies would be; and once the group goes on without it, that it is older.
TEST(TakeoverDoubts, NameTheVolumeThatWentAlone) {
  Cascade cascade{5, AckWhen::sync, FenceLevel::never};
  for (int i = 0; i < 4000; ++i) cascade.go_on();
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  cascade.black_hole("p1", "h");
  cascade.black_hole("h", "p1");
  for (int i = 0; i < 4000; ++i) cascade.go_on();
  ASSERT_GT(cascade.times_alone(0), 0u);
  const auto asked = promote(cascade, "h", false, {"still-connected"});
  ASSERT_FALSE(asked);
  EXPECT_THAT(asked.error().text,
              AllOf(HasSubstr("orders: the lease of p1 was over at 20"),
                    HasSubstr("writes that are here stay out, behind the bracket at write"),
                    HasSubstr("open for orders since 20"), HasSubstr("--force=may-lack-writes")));
  const auto newest = promote(cascade, "h", true, all_doubts);
  ASSERT_FALSE(newest);
  EXPECT_THAT(newest.error().text,
              AllOf(HasSubstr("no image of one moment"), HasSubstr("--force=not-consistent")));
  ASSERT_TRUE((*cascade.node("h").group().node())->end_bracket("orders"));
  for (int i = 0; i < 2000; ++i) cascade.go_on();
  for (const char* name : {"h", "r"}) {
    const auto left = promote(cascade, name, false, all_doubts);
    ASSERT_FALSE(left);
    EXPECT_THAT(left.error().text, AllOf(HasSubstr("orders: it was left behind at 20"),
                                         HasSubstr("--force=not-consistent")));
  }
  ASSERT_TRUE(
      promote(cascade, "h", true, {"may-lack-writes", "still-connected", "not-consistent"}));
  EXPECT_TRUE(finish(cascade, "h"));
}

TEST_F(TakeoverTest, WhoComesBackIsRefusedByBothNames) {
  go_on();
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  kill({"p1", "p2", "h"});
  cascade.run_for(std::chrono::seconds(20));
  const auto doubted = promote(cascade, "r", false, {});
  ASSERT_FALSE(doubted);
  EXPECT_THAT(doubted.error().text,
              AllOf(HasSubstr("0 writes are missing here that the hub, h, had"),
                    HasSubstr("--force=may-lack-writes")));
  ASSERT_TRUE(promote(cascade, "r", false, all_doubts));
  ASSERT_TRUE(finish(cascade, "r"));
  const std::string generation = cascade.node("r").group().status().takeover->generation;
  cascade.node("r").kill(true);
  const auto image = cascade.node("r").images;
  for (const char* name : {"r", "h", "p1", "p2"}) cascade.node(name).start();
  go_on(6000);
  std::string reason, hub_generation;
  const auto hub = cascade.node("h").group().status();
  for (const auto& link : hub.links)
    if (link.peer == "r") reason = link.reason;
  for (const auto& volume : hub.volumes) hub_generation = volume.generation;
  EXPECT_THAT(reason, AllOf(HasSubstr("promoted on r"), HasSubstr(generation),
                            HasSubstr(hub_generation), HasSubstr("TAKEOVER")));
  EXPECT_EQ(cascade.takeover_state("r"), "promoted");
  cascade.node("r").kill(false);
  for (const char* copy : {"orders", "ledger"})
    EXPECT_TRUE(cascade.node("r").images[copy] == image.at(copy)) << copy;
}

/// Under load, with losses of power before, and of the promoted node until it is through.
class PromotedAtAnyMoment : public testing::TestWithParam<int> {
 protected:
  unsigned seed = seed_of(GetParam());
  std::string name = seed % 2 == 0 ? "h" : "r";
  Cascade cascade{seed, seed % 3 == 0 ? AckWhen::memory_sync : AckWhen::sync,
                  seed % 5 == 0 ? FenceLevel::never : FenceLevel::data};
};

TEST_P(PromotedAtAnyMoment, IsAnImageOfOneMoment) {
  SCOPED_TRACE(again_with(seed, "PromotedAtAnyMoment"));
  cascade.live(3000);
  if (seed % 4 < 2) {
    cascade.node("h").kill(true);
    cascade.live(100);
    cascade.node("h").start();
    cascade.live(200);
  }
  bool told = false;
  for (int i = 0; i < 200 && cascade.takeover_state(name) != "promoted"; ++i) {
    if (const auto node = cascade.node(name).group().node(); node && !told) {
      const auto done = (*node)->promote(false, all_doubts);
      ASSERT_TRUE(done) << done.error().text;
      told = true;
    }
    cascade.live(40);
    if (cascade.draw() % 8 != 0) continue;
    cascade.node(name).kill(true);
    ASSERT_EQ(cascade.effect_without_cause(name), "");
    cascade.node(name).start();
    // Until it is on the disk it is not decided.
    cascade.live(20);
    told = told && cascade.takeover_state(name) != "";
  }
  ASSERT_TRUE(finish(cascade, name)) << cascade.figures();
  cascade.node(name).kill(true);
  EXPECT_EQ(cascade.effect_without_cause(name), "");
}

/// Its copies hold anything, whatever its journal is; the hub is told once, and again only if it
/// lost power before that was on its disk.
class ReplacedRemote : public PromotedAtAnyMoment {
 protected:
  void tell_hub() {
    for (int i = 0; i < 4000; ++i) {
      if (const auto hub = cascade.node("h").group().node())
        if ((*hub)->replace_remote()) return;
      cascade.go_on();
    }
    FAIL() << "the hub takes no order";
  }
  bool replacing() {
    const auto status = cascade.node("h").group().status();
    return status.remote && status.remote->replacing;
  }
  void lose_power(const std::string& victim) {
    const bool again = victim == "h" && replacing();
    cascade.node(victim).kill(true);
    cascade.live(20);
    cascade.node(victim).start();
    if (again) tell_hub();
  }
};

TEST_P(ReplacedRemote, GetsEverythingUnderLoad) {
  SCOPED_TRACE(again_with(seed, "ReplacedRemote"));
  if (seed % 2 == 0) cascade.node("r").kill(true);  // the hub still has what was written first
  cascade.live(3000);
  if (cascade.node("r").runs()) cascade.node("r").kill(true);
  auto& images = cascade.node("r").images;
  if (seed % 4 != 1) images["journal"] = new_journal(images["journal"].size());
  for (const char* copy : {"orders", "ledger"})
    std::fill(images[copy].begin(), images[copy].end(), std::byte{0xee});
  cascade.node("r").start();
  if (seed % 3 == 0) cascade.live(2000);  // it may be taken as it is, and has to be told off
  tell_hub();
  for (int i = 0; i < 100 && !HasFatalFailure(); ++i) {
    cascade.live(60);
    if (cascade.draw() % 10 == 0) lose_power(cascade.draw() % 2 == 0 ? "h" : "r");
  }
  // Brackets close on the way.
  for (int i = 0; i < 100 && replacing(); ++i) {
    (void)cascade.drain();
    cascade.run_for(std::chrono::milliseconds(100));
  }
  EXPECT_FALSE(replacing());
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  EXPECT_EQ(cascade.difference(), "");
}

/// It was promoted, and written to; all of that is given up, on this node alone.
class RejoinedRemote : public PromotedAtAnyMoment {
 protected:
  Result<api::Done> rejoin(const std::vector<std::string>& force) {
    const auto node = cascade.node("r").group().node();
    return node ? (*node)->rejoin(false, force) : node.error();
  }
  bool is_promoted() { return cascade.takeover_state("r") == "promoted"; }
};

TEST_P(RejoinedRemote, GetsWhatDiffersUnderLoad) {
  SCOPED_TRACE(again_with(seed, "RejoinedRemote"));
  cascade.live(3000);
  ASSERT_TRUE(promote(cascade, "r", false, all_doubts));
  ASSERT_TRUE(finish(cascade, "r")) << cascade.figures();
  cascade.node("r").kill(false);
  for (const char* copy : {"orders", "ledger"})
    std::fill_n(cascade.node("r").images[copy].begin(), 100'000, std::byte{0xee});
  cascade.node("r").start();
  cascade.live(seed % 3 == 0 ? 3000 : 100);
  ASSERT_TRUE(finish(cascade, "r"));
  const auto asked = rejoin({});
  ASSERT_FALSE(asked);
  EXPECT_THAT(asked.error().text,
              AllOf(HasSubstr("since it was promoted at"), HasSubstr("--force=give-up-writes")));
  for (int i = 0; i < 60; ++i) {
    if (is_promoted()) {
      ASSERT_TRUE(rejoin({"give-up-writes"}));
    }
    cascade.live(60);
    if (cascade.draw() % 6 != 0) continue;
    const std::string victim = cascade.draw() % 3 == 0 ? "h" : "r";
    cascade.node(victim).kill(true);
    cascade.live(20);
    cascade.node(victim).start();
  }
  EXPECT_FALSE(is_promoted());
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  EXPECT_EQ(cascade.difference(), "");
}

TEST_F(TakeoverTest, CopiesDoNotGoBackToAMomentBeforeWhatTheyHold) {
  go_on();
  ASSERT_TRUE(cascade.drain());
  kill({"p1", "p2", "h"});
  cascade.run_for(std::chrono::seconds(20));
  const auto now = cascade.node("r").realtime_ns();
  GroupNode& remote = **cascade.node("r").group().node();
  EXPECT_THAT(remote.takeover(false, now - 60'000'000'000).error().text,
              AllOf(HasSubstr("the copies on r hold what it took in until"),
                    HasSubstr("can't go back to")));
  EXPECT_THAT(remote.begin_drill(now - 60'000'000'000).error().text, HasSubstr("can't go back to"));
  EXPECT_THAT(remote.takeover(false, now + 60'000'000'000).error().text,
              HasSubstr("is still to come"));
  EXPECT_THAT(remote.takeover(true, now).error().text, HasSubstr("either every volume's newest"));
  const auto plan = remote.takeover(false, now);
  ASSERT_TRUE(plan) << plan.error().text;
  EXPECT_THAT(plan->doubts.front().text, HasSubstr("stays out, as told"));
}

TEST_F(TakeoverTest, WhoFollowsHasNothingToGiveUp) {
  go_on();
  ASSERT_TRUE(cascade.drain());
  for (const char* name : {"h", "r"}) {
    const auto done = (*cascade.node(name).group().node())->rejoin(false, {"give-up-writes"});
    ASSERT_FALSE(done);
    EXPECT_THAT(done.error().text, HasSubstr("nothing to give up"));
  }
  const auto primary = (*cascade.node("p1").group().node())->rejoin(true, {});
  ASSERT_FALSE(primary);
  EXPECT_THAT(primary.error().text, HasSubstr("p1 is a primary"));
}

INSTANTIATE_TEST_SUITE_P(Seeds, RejoinedRemote, testing::Range(1, 17));
INSTANTIATE_TEST_SUITE_P(Seeds, ReplacedRemote, testing::Range(1, 13));
INSTANTIATE_TEST_SUITE_P(Seeds, PromotedAtAnyMoment, testing::Range(1, 17));

}  // namespace
}  // namespace cascade::test
