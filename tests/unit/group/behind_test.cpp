// SPDX-License-Identifier: GPL-2.0-or-later
//
// The remote is away for longer than the hub's journal holds, while two applications' writes depend
// on each other: nobody waits for it, and its copies are consistent before, during and after it
// catches up, whoever loses power meanwhile. I2, I3, I8.
#include "tests/unit/group/virtual_cascade.hpp"
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

class RemoteIsAway : public testing::TestWithParam<int> {
 protected:
  unsigned seed = seed_of(GetParam());
  Cascade cascade;

  // The remote's journal has to hold the bracket in which it catches up.
  explicit RemoteIsAway(std::uint64_t remote_journal_bytes = 3 * journal_disk_bytes)
      : cascade(seed, seed % 4 == 0 ? AckWhen::memory_sync : AckWhen::sync, FenceLevel::data,
                remote_journal_bytes) {}

  void lose_power(const std::string& victim) {
    cascade.node(victim).kill(true);
    ASSERT_EQ(cascade.effect_without_cause(victim), "");
    cascade.live(20);
    cascade.node(victim).start();
  }
  /// False if it never does.
  bool fall_behind() {
    for (int i = 0; i < 4000 && cascade.remote_behind() != true; ++i) {
      for (int round = 0; round < 12; ++round) cascade.go_round();
      cascade.write_much();
      cascade.live(4);
      if (cascade.draw() % 300 == 0) lose_power("h");
    }
    return cascade.remote_behind() == true;
  }
  /// With some losses of power on the way; false if it does not come to that.
  bool catch_up(unsigned cuts = 4) {
    for (int i = 0; i < 4000 && cascade.remote_behind() != false; ++i) {
      for (int round = 0; round < 16; ++round) cascade.go_round();
      if (i % 8 == 0) cascade.live(4);
      if (cascade.draw() % 200 == 0) cascade.write_much();
      if (cuts == 0 || cascade.draw() % (400 / cuts) != 0) continue;
      --cuts;
      lose_power(cascade.draw() % 2 == 0 ? "r" : "h");
    }
    return cascade.remote_behind() == false;
  }
};

TEST_P(RemoteIsAway, LongerThanTheJournalHolds) {
  SCOPED_TRACE(again_with(seed, "RemoteIsAway"));
  cascade.live(200);
  for (int life = 0; life < 2; ++life) {
    cascade.node("r").kill(cascade.draw() % 2 == 0);
    ASSERT_TRUE(fall_behind()) << cascade.figures();
    cascade.live(200);
    cascade.node("r").start();
    ASSERT_TRUE(catch_up()) << cascade.figures();
    lose_power("r");
  }
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  EXPECT_EQ(cascade.difference(), "");
}

class RemoteJournalIsSmall : public RemoteIsAway {
 protected:
  RemoteJournalIsSmall() : RemoteIsAway(journal_disk_bytes) {
    for (const char* name : {"h", "r"}) {
      cascade.node(name).kill(false);
      cascade.add_undo(name, 4 << 20);
      cascade.node(name).start();
    }
  }
};

// The journals can't hold the bracket: what the copies held at its limit is kept, and can be had
// again at every moment.
TEST_P(RemoteJournalIsSmall, AndItsCopiesGoPastTheBracketAndBack) {
  SCOPED_TRACE(again_with(seed, "RemoteJournalIsSmall"));
  cascade.live(200);
  cascade.node("r").kill(cascade.draw() % 2 == 0);
  ASSERT_TRUE(fall_behind()) << cascade.figures();
  cascade.live(200);
  cascade.node("r").start();
  ASSERT_TRUE(catch_up(12)) << cascade.figures();
  lose_power("r");
  ASSERT_TRUE(cascade.drain()) << cascade.figures();
  EXPECT_EQ(cascade.difference(), "");
}

/// Promoted with its copies past the bracket: they are brought back, whoever loses power meanwhile.
class PromotedPastABracket : public RemoteJournalIsSmall {};

TEST_P(PromotedPastABracket, IsAsItWasThere) {
  SCOPED_TRACE(again_with(seed, "PromotedPastABracket"));
  const auto past = [&] {
    const auto status = cascade.node("r").group().status();
    return status.bracket && status.bracket->past == "undo";
  };
  cascade.live(200);
  // It may catch up before it has to.
  for (int life = 0; life < 20 && !past(); ++life) {
    cascade.node("r").kill(cascade.draw() % 2 == 0);
    ASSERT_TRUE(fall_behind()) << cascade.figures();
    cascade.live(200);
    cascade.node("r").start();
    for (int i = 0; i < 4000 && !past() && cascade.remote_behind() != false; ++i) {
      for (int round = 0; round < 16; ++round) cascade.go_round();
      if (i % 8 == 0) cascade.live(4);
      if (i % 10 == 0) cascade.write_much();
    }
  }
  ASSERT_TRUE(past()) << cascade.figures();
  lose_power("r");
  if (HasFatalFailure()) return;
  cascade.live(200);
  for (int i = 0; i < 2000 && cascade.takeover_state("r") != "promoted"; ++i) {
    const auto node = cascade.node("r").group().node();
    if (node && cascade.takeover_state("r") == "") {
      ASSERT_TRUE((*node)->promote(false, {"may-lack-writes", "still-connected"}));
    }
    cascade.live(40);
    if (cascade.draw() % 8 == 0) lose_power("r");
    if (HasFatalFailure()) return;
  }
  ASSERT_EQ(cascade.takeover_state("r"), "promoted");
  cascade.node("r").kill(true);
  EXPECT_EQ(cascade.effect_without_cause("r"), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, PromotedPastABracket, testing::Range(1, 9));
INSTANTIATE_TEST_SUITE_P(Seeds, RemoteJournalIsSmall, testing::Range(1, 17));
INSTANTIATE_TEST_SUITE_P(Seeds, RemoteIsAway, testing::Range(1, 17));

}  // namespace
}  // namespace cascade::test
