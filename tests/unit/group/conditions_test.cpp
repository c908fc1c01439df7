// SPDX-License-Identifier: GPL-2.0-or-later
// What is wrong has a name, once, for as long as it is wrong.
#include "daemon/conditions.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

namespace cascade {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> codes(const api::Group& group) {
  std::vector<std::string> out;
  for (const auto& c : find_conditions(group)) {
    EXPECT_FALSE(c.impact.empty()) << c.code << " is not in the table";
    out.push_back(c.code + " " + c.subject);
  }
  return out;
}

api::Group healthy() {
  api::Group group;
  group.name = "shop";
  api::Link link;
  link.peer = "r";
  link.direction = "downstream";
  link.state = "connected";
  group.links = {link};
  api::Volume volume;
  volume.name = "orders";
  volume.primary = "p1";
  volume.state = "replicating";
  volume.out_of_sync_bytes = 0;
  group.volumes = {volume};
  group.journal.emplace();
  group.journal->state = "ok";
  group.journal->size_bytes = 1000;
  group.journal->used_bytes = 799;
  return group;
}

TEST(Conditions, AreNoneWhereAllIsWell) { EXPECT_THAT(codes(healthy()), IsEmpty()); }

TEST(Conditions, ADiskThatFailedToTakeWritesIsNamedUntilThatIsMended) {
  api::Group group = healthy();
  group.volumes[0].local_errors = 3;
  EXPECT_THAT(codes(group), IsEmpty()) << "they were long ago, and are mended";
  group.volumes[0].local_write_failed = true;
  EXPECT_THAT(codes(group), ElementsAre("LOCAL_WRITE_ERRORS orders"));
  EXPECT_THAT(find_conditions(group)[0].reason, HasSubstr("3 so far"));
}

TEST(Conditions, NameTheWorstFirst) {
  api::Group group = healthy();
  group.volumes[0].out_of_sync_bytes = 4096;
  group.volumes[0].differs = "it ended without order";
  group.links[0].state = "connecting";
  group.links[0].reason = "no answer";
  EXPECT_THAT(codes(group), ElementsAre("LINK_DOWN r", "RESYNCING orders"));
  group.volumes[0].state = "waiting";
  EXPECT_THAT(codes(group), ElementsAre("LINK_DOWN r", "OUT_OF_SYNC orders"));
  group.volumes[0].out_of_sync_bytes = 0;
  EXPECT_THAT(codes(group), ElementsAre("LINK_DOWN r", "COPIES_MAY_DIFFER orders"));
}

TEST(Conditions, SayHowFullAJournalIsAndWhatToDo) {
  api::Group group = healthy();
  group.journal->used_bytes = 800;
  EXPECT_THAT(codes(group), ElementsAre("JOURNAL_NEARLY_FULL journal"));
  group.journal->reason = "full: writes wait";
  EXPECT_THAT(codes(group), ElementsAre("JOURNAL_FULL journal"));
  group.bracket.emplace();
  group.bracket->volumes = {{"ledger", "resend", "", "its primary p2 has not come back yet"}};
  EXPECT_THAT(codes(group), ElementsAre("JOURNAL_FULL journal", "BRACKET_OPEN ledger"));
  EXPECT_THAT(find_conditions(group)[0].action, HasSubstr("bracket end"));
  EXPECT_THAT(find_conditions(group)[1].action,
              HasSubstr("dmcascade bracket end shop --without ledger"));
  group.journal->state = "failed";
  EXPECT_THAT(codes(group)[0], "GROUP_FAILED journal");
}

TEST(Conditions, SayThatARemoteIsLateOrLacksMoreThanTheJournalHolds) {
  api::Group group = healthy();
  group.remote.emplace();
  group.remote->lag_seconds = 299;
  EXPECT_THAT(codes(group), IsEmpty());
  group.remote->lag_seconds = 300;
  EXPECT_THAT(codes(group), ElementsAre("REMOTE_LAGGING r"));
  EXPECT_THAT(find_conditions(group, {80, 301}), IsEmpty());
  group.remote->behind_since = "2026-11-23T08:30:00.000Z";
  group.remote->out_of_sync_bytes = 4096;
  group.journal->used_bytes = 900;  // it is behind so that the journal gets no fuller
  EXPECT_THAT(codes(group), ElementsAre("REMOTE_BEHIND r"));
  EXPECT_THAT(find_conditions(group)[0].reason, HasSubstr("4096 bytes"));
  group.remote->reason = "a copy can't be read";
  EXPECT_THAT(codes(group), ElementsAre("CATCH_UP_FAILED r", "REMOTE_BEHIND r"));
}

TEST(Conditions, SayWhatComesWhenTheJournalIsFull) {
  api::Group group = healthy();
  group.journal->used_bytes = 500;
  EXPECT_THAT(codes(group), IsEmpty());
  EXPECT_THAT(find_conditions(group, {50, 300}).at(0).reason, HasSubstr("writers wait"));
  group.remote.emplace();
  group.on_journal_full = "suspend";
  EXPECT_THAT(find_conditions(group, {50, 300}).at(0).reason, HasSubstr("the remote falls behind"));
}

TEST(Conditions, SayThatCopiesWentPastABracket) {
  api::Group group = healthy();
  group.bracket.emplace();
  group.bracket->catching_up = true;
  EXPECT_THAT(codes(group), ElementsAre("CATCHING_UP "));
  group.bracket->past = "undo";
  group.bracket->undo_path = "/dev/u";
  EXPECT_THAT(codes(group), ElementsAre("CATCHING_UP ", "BRACKET_PASSED "));
  group.bracket->undo_full = true;
  EXPECT_THAT(codes(group), ElementsAre("UNDO_FULL /dev/u", "CATCHING_UP ", "BRACKET_PASSED "));
  group.bracket->undo_full = false;
  group.bracket->past = "gone";
  EXPECT_THAT(codes(group), ElementsAre("BRACKET_PASSED ", "CATCHING_UP "));
}

TEST(Conditions, SayThatADrillRunsAndHowMuchOfItsSpaceIsLeft) {
  api::Group group = healthy();
  group.drill =
      api::Drill{"running", "2026-11-23T08:30:00.000Z", 7, {{"orders", "/dev/d", 80, 100}}};
  EXPECT_THAT(codes(group), ElementsAre("DRILL "));
  group.drill->images[0].used_bytes = 81;
  EXPECT_THAT(codes(group), ElementsAre("DRILL_SPACE_LOW orders", "DRILL "));
  group.drill->images[0].broken = true;
  EXPECT_THAT(codes(group), ElementsAre("DRILL_BROKEN orders", "DRILL "));
  group.drill->images[0].path = "";
  EXPECT_THAT(find_conditions(group)[0].reason, HasSubstr("is gone"));
}

TEST(Conditions, SayThatAVolumeIsAloneOrMayBeSoon) {
  api::Group group = healthy();
  group.volumes[0].lease_seconds = 2.5;
  EXPECT_THAT(codes(group), IsEmpty());
  group.volumes[0].lease_seconds = 0;
  group.volumes[0].fence_level = "never";
  EXPECT_THAT(codes(group), ElementsAre("LEASE_LOST orders"));
  group.volumes[0].fence_level = "witness";
  group.volumes[0].reason = "what it said";
  EXPECT_THAT(find_conditions(group)[0].reason, HasSubstr("the witness lets it: what it said"));
  group.volumes[0].alone_since = "2026-11-23T08:30:00.000Z";
  group.volumes[0].out_of_sync_bytes = 4096;
  EXPECT_THAT(codes(group), ElementsAre("ALONE orders"));
  EXPECT_THAT(find_conditions(group)[0].reason, HasSubstr("4096 bytes"));
}

TEST(Conditions, NameWhatKeepsAGroupFromRunning) {
  api::Group group = healthy();
  group.journal->state = "failed";
  for (const auto& [kind, code] : {std::pair{Errc::not_found, "DEVICE_MISSING journal"},
                                   {Errc::io, "DEVICE_FAILED journal"},
                                   {Errc::corrupt, "JOURNAL_DAMAGED journal"},
                                   {Errc::refused, "GROUP_FAILED journal"}}) {
    group.journal->failure = api::word(kind);
    EXPECT_THAT(codes(group), ElementsAre(code));
  }
  EXPECT_THAT(find_conditions(group)[0].action, HasSubstr("tried again by itself"));
}

TEST(Conditions, SayHowADamagedJournalIsMadeUpFor) {
  api::Group group = healthy();
  group.journal->copies_reason = "write 7 is damaged";
  group.journal->copies_failure = api::word(Errc::corrupt);
  group.roles = {"remote"};
  EXPECT_THAT(codes(group), ElementsAre("JOURNAL_DAMAGED copies"));
  EXPECT_THAT(find_conditions(group)[0].action, HasSubstr("'dmcascade remote replace shop'"));
  group.takeover = api::Takeover{};
  EXPECT_THAT(find_conditions(group)[0].action, testing::Not(HasSubstr("journal format")))
      << "the promotion would be gone";
  group.takeover.reset();
  group.roles = {"hub"};
  EXPECT_THAT(find_conditions(group)[0].action, HasSubstr("BEGINNING ANEW"));
  group.journal->copies_failure = api::word(Errc::io);
  EXPECT_THAT(find_conditions(group)[0].action, HasSubstr("tried again by itself"));
}

TEST(Conditions, NameAJournalThatTheRemoteCannotBeFedFrom) {
  api::Group group = healthy();
  group.links[0].direction = "downstream";
  group.journal->ship_reason = "/dev/j: the batch at position 8192 is damaged";
  group.journal->ship_failure = api::word(Errc::corrupt);
  EXPECT_THAT(codes(group), ElementsAre("JOURNAL_DAMAGED journal"));
  EXPECT_THAT(find_conditions(group)[0].reason, HasSubstr("nothing from there on is sent to"));
  group.journal->ship_failure = api::word(Errc::io);
  EXPECT_THAT(codes(group), ElementsAre("DEVICE_FAILED journal"));
}

TEST(Conditions, SayWhereTheDelayOfTheCopiesIsNotKept) {
  api::Group group = healthy();
  group.journal->apply_delay_seconds = 3600;
  group.journal->applied_time = "2026-11-23T08:26:00.000Z";
  EXPECT_THAT(codes(group), ElementsAre());
  group.journal->apply_delay_short = true;
  EXPECT_THAT(codes(group), ElementsAre("APPLY_DELAY_SHORT copies"));
  EXPECT_THAT(find_conditions(group)[0].reason,
              AllOf(HasSubstr("in 3600 s"), HasSubstr("as of 2026-11-23T08:26:00.000Z")));
}

TEST(Conditions, NameACongestionControlThatIsMissing) {
  api::Group group = healthy();
  group.links[0].congestion = "bbr is not to be had: No such file or directory";
  EXPECT_THAT(codes(group), ElementsAre("CONGESTION_CONTROL r"));
  EXPECT_THAT(find_conditions(group)[0].reason, HasSubstr("the system's own is used"));
}

TEST(Conditions, SayThatNobodyCanComeIn) {
  api::StatusReport node;
  EXPECT_THAT(find_conditions(node), IsEmpty());
  node.listener = api::Listener{"127.0.1.1:7420", "starting", "", false};
  EXPECT_THAT(find_conditions(node), IsEmpty());
  node.listener = api::Listener{"127.0.1.1:7420", "down", "Cannot assign requested address", false};
  EXPECT_EQ(find_conditions(node).at(0).code, "NOT_LISTENING");
  node.listener->state = "listening";
  EXPECT_EQ(find_conditions(node).at(0).code, "ACCEPT_FAILED");
  node.listener->reason.clear();
  EXPECT_THAT(find_conditions(node), IsEmpty());
  node.listener->loopback = true;
  EXPECT_EQ(find_conditions(node).at(0).code, "LISTENS_ON_LOOPBACK");
}

TEST(Conditions, AreInTheManualPage) {
  std::ifstream file(MANUAL);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(page.empty());
  for (const std::string& code : condition_codes()) EXPECT_THAT(page, HasSubstr("\\fB" + code));
}

TEST(Conditions, KeepTheTimeWhenTheyBegan) {
  ConditionLog log("shop");
  api::Group group = healthy();
  group.volumes[0].state = "behind";
  const auto since = [&](std::uint64_t now_s) {
    auto now = find_conditions(group);
    log.update(now, now_s * 1'000'000'000);
    return now.empty() ? "" : now[0].since;
  };
  EXPECT_EQ(since(1), "1970-01-01T00:00:01.000Z");
  EXPECT_EQ(since(9), "1970-01-01T00:00:01.000Z");
  group.volumes[0].state = "replicating";
  EXPECT_EQ(since(10), "");
  group.volumes[0].state = "behind";
  EXPECT_EQ(since(11), "1970-01-01T00:00:11.000Z");
}

}  // namespace
}  // namespace cascade
