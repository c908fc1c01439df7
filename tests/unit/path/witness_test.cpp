// SPDX-License-Identifier: GPL-2.0-or-later
// What a witness grants, by what it has granted before. I5.
#include "daemon/path/witness.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

Uuid uuid_number(std::uint8_t maker, std::uint8_t number) {
  Uuid uuid{};
  uuid.data[0] = maker;
  uuid.data[15] = number;
  return uuid;
}

/// Generations.
const Uuid first = uuid_number(1, 1), second = uuid_number(2, 2);
/// Petitions of a hub, and of a primary.
const Uuid promotion = uuid_number(3, 1), other_promotion = uuid_number(3, 2);
const Uuid mine = uuid_number(4, 1), my_next = uuid_number(4, 2);

class WitnessTest : public testing::Test {
 protected:
  WitnessTest() {
    format(disk);
    config.name = "shop";
    config.uuid = group;
    config.hub = "h";
    config.remote = "r";
    config.volumes = {{"orders", volume_a, "p1", {}}, {"ledger", volume_b, "p2", {}}};
    running.emplace(world, disk);
  }

  /// Empty: it is granted; else why not.
  std::string ask(const std::string& node, const Petition& petition) {
    const Hello hello = make_hello(group, node, petition);
    const Bytes frame = encode_hello(hello, 0);
    const auto body = std::span(frame).subspan(sizeof(FrameHeader));
    const auto header = check_header(std::span(frame).first<sizeof(FrameHeader)>());
    const auto received = decode_hello(*header, body);
    EXPECT_TRUE(received) << received.error().text;
    const auto welcome = decide(config, running->journal, "r", *received);
    if (!welcome) return welcome.error().text;
    EXPECT_EQ(welcome->streams.size(), hello.streams.size());
    EXPECT_TRUE(world.get(running->journal.persist()));
    for (const Answer& answer : welcome->streams)
      if (answer.refusal) return answer.refusal->text;
    return "";
  }
  std::string alone(const Uuid& from, const std::string& node = "p1", const Uuid& name = mine) {
    return ask(node, {.name = name, .volumes = {{volume_a, from}}});
  }
  std::string promote(const Uuid& from, const Uuid& to = promotion) {
    return ask("h",
               {.name = to, .promotion = true, .volumes = {{volume_a, from}, {volume_b, first}}});
  }
  std::string withdraw(const std::string& node, const Uuid& name) {
    return ask(node, {.name = name,
                      .promotion = node == "h",
                      .withdrawn = true,
                      .volumes = {{volume_a, second}}});
  }
  void restart() {
    running.emplace(world, disk);
    ASSERT_TRUE(running->opened) << running->opened.error().text;
  }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
  GroupConfig config;
  std::optional<RunningJournal> running;
};

TEST_F(WitnessTest, WhatWentOnAloneKeepsAPromotionFromTheSameGenerationOut) {
  EXPECT_EQ(alone(first), "");
  EXPECT_EQ(alone(first), "") << "asked again, the answer is the same";
  restart();
  EXPECT_THAT(promote(first), HasSubstr("it has let orders go on alone, the last of them at 20"));
  EXPECT_EQ(promote(second), "") << "the hub has had it back since";
}

TEST_F(WitnessTest, APromotionKeepsPrimariesFromGoingOnAlone) {
  EXPECT_EQ(promote(first), "");
  restart();
  EXPECT_THAT(alone(first), HasSubstr("the group was let be promoted on h at 20"));
  EXPECT_EQ(alone(second), "") << "another history";
  EXPECT_THAT(promote(second, other_promotion), HasSubstr("orders")) << "orders is alone by now";
  EXPECT_EQ(promote(first, other_promotion), "") << "it asks again, as another generation";
}

TEST_F(WitnessTest, AnAdministratorsWordGoesOverItAndIsKept) {
  EXPECT_EQ(alone(first), "");
  Petition forced{
      .name = promotion, .promotion = true, .forced = true, .volumes = {{volume_a, first}}};
  EXPECT_EQ(ask("h", forced), "");
  EXPECT_THAT(alone(first), HasSubstr("promoted on h"));
}

TEST_F(WitnessTest, WhatIsWithdrawnIsNotGrantedAnyMore) {
  EXPECT_EQ(promote(first), "");
  EXPECT_NE(alone(first), "");
  EXPECT_EQ(withdraw("h", promotion), "");
  restart();
  EXPECT_EQ(alone(first), "");
  EXPECT_EQ(withdraw("h", promotion), "");
  EXPECT_NE(promote(first, other_promotion), "") << "what others were granted stays";
  EXPECT_EQ(withdraw("p1", mine), "");
  EXPECT_EQ(promote(first, other_promotion), "");
}

TEST_F(WitnessTest, WhatComesLateChangesNothing) {
  EXPECT_EQ(alone(first), "");
  EXPECT_EQ(withdraw("p1", mine), "");
  EXPECT_EQ(alone(first), "this petition was withdrawn");
  EXPECT_EQ(alone(first, "p1", my_next), "");
  EXPECT_EQ(alone(first), "this petition was withdrawn");
  EXPECT_EQ(withdraw("p1", mine), "");
  EXPECT_THAT(promote(first), HasSubstr("orders")) << "the second one stands";
  EXPECT_EQ(withdraw("p1", my_next), "");
  EXPECT_EQ(promote(first, other_promotion), "");
  EXPECT_EQ(promote(first), "this petition was withdrawn") << "another one came after it";
}

TEST_F(WitnessTest, NobodyTakesBackWhatAnotherDaemonAskedFor) {
  const Uuid of_daemon_before = uuid_number(5, 9);
  EXPECT_EQ(promote(first), "");
  EXPECT_EQ(withdraw("h", of_daemon_before), "");
  EXPECT_NE(alone(first), "");
  EXPECT_EQ(alone(second), "");
  EXPECT_EQ(withdraw("p1", of_daemon_before), "");
  EXPECT_EQ(withdraw("p1", promotion), "");
  EXPECT_NE(promote(second, other_promotion), "");
}

/// It has been back since it went on alone, and has gone again, while the hub's petition was on its
/// way.
TEST_F(WitnessTest, APetitionOfAnEarlierGenerationTakesNobodysGrant) {
  EXPECT_EQ(alone(second), "");
  EXPECT_EQ(promote(first), "") << "the hub finds out that this is over";
  EXPECT_EQ(withdraw("h", promotion), "");
  EXPECT_THAT(promote(second, other_promotion), HasSubstr("orders"));
}

TEST_F(WitnessTest, OnlyThoseAreHeardWhomTheFileNames) {
  EXPECT_THAT(alone(first, "p2"), HasSubstr("p2 is not its primary by the witness's file"));
  EXPECT_THAT(ask("p1", {.name = promotion, .promotion = true, .volumes = {{volume_a, first}}}),
              HasSubstr("p1 is not the hub by the witness's file"));
  EXPECT_THAT(ask("p1", {.volumes = {{volume_a, first}}}), HasSubstr("has no name"));
  EXPECT_THAT(ask("p1", {.name = mine, .volumes = {{volume_a, {}}}}), HasSubstr("generation"));
  EXPECT_EQ(running->journal.granted_time_ns(), 0u) << "nothing was granted";
}

TEST_F(WitnessTest, AJournalThatIsMadeAnewKeepsToWhatWasGranted) {
  EXPECT_EQ(alone(first), "");
  ASSERT_TRUE(world.get(running->journal.give_up()));
  restart();
  EXPECT_TRUE(running->journal.rejoins());
  EXPECT_NE(promote(first), "");
}

}  // namespace
}  // namespace cascade::test
