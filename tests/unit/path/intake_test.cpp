// SPDX-License-Identifier: GPL-2.0-or-later
//
// What hub and remote take in, and what they refuse of a peer that is wrong or hostile. I3, I9.
#include "daemon/path/mirror_intake.hpp"
#include "daemon/path/ship_intake.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t intake_bytes = 1 << 20;

GroupConfig make_group() {
  GroupConfig g;
  g.name = "shop";
  g.uuid = group;
  g.hub = "h";
  g.remote = "r";
  g.volumes.push_back({"orders", volume_a, "p1", {}, 1 << 20});
  g.volumes.push_back({"ledger", volume_b, "p2", {}, 1 << 20});
  return g;
}

/// Frames of several records without payload, numbered as told.
Incoming discards(const std::vector<std::uint64_t>& group_seqs) {
  std::vector<Record> records;
  for (const std::uint64_t seq : group_seqs) {
    records.push_back(make_record(seq + 1, {}, 0, volume_a, CASCADE_OP_DISCARD, 4096));
    set_group_seq(records.back(), seq);
  }
  return make_incoming(records, {});
}

class RemoteIntake : public testing::Test {
 protected:
  void SetUp() override {
    format(disk);
    run.emplace(world, disk);
    state.reset(new ShipState{config, run->journal, {{volume_a, {intake_bytes, 512}}}});
    intake.emplace(*state);
    ASSERT_TRUE(intake->open(hello(), [](const std::string&) {}));
    intake->told(1'000'000);
  }
  static Hello hello() {
    Hello hello{group, "h", SessionKind::ship, {}};
    hello.streams.push_back({group, 1, 100, false});
    return hello;
  }
  std::string refusal(Incoming in) {
    const auto received = state->received_seq();
    const auto taken = intake->take(std::move(in));
    EXPECT_FALSE(taken);
    EXPECT_EQ(state->received_seq(), received) << "refused, and taken in part";
    return taken ? "taken" : taken.error().text;
  }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
  GroupConfig config = make_group();
  std::optional<RunningJournal> run;
  std::unique_ptr<ShipState> state;
  std::optional<ShipIntake> intake;
};

// A remote that lacks what the hub's journal does not hold any more goes on behind it, in a
// bracket, if the hub says that copies will come; only then, and only there.
TEST_F(RemoteIntake, JumpsOverWhatWillComeAsCopies) {
  ASSERT_TRUE(intake->take(discards({1, 2, 3})));
  world.settle();
  Hello later = hello();
  later.streams.front().first = 50;
  const auto plain = intake->open(later, [](const std::string&) {});
  ASSERT_FALSE(plain);
  EXPECT_THAT(plain.error().text, HasSubstr("too far behind"));

  later.streams.front().gap = true;
  later.streams.front().history = 0x77;
  const auto welcome = intake->open(later, [](const std::string&) {});
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->streams.front().ack.received, 3u);
  EXPECT_FALSE(welcome->streams.front().gap) << "nothing has come yet";
  EXPECT_THAT(refusal(discards({51, 52})), HasSubstr("write 51 came after write 3"));
  EXPECT_THAT(refusal(one_write(60, 4096, 50, volume_b)), HasSubstr("does not have"));
  EXPECT_FALSE(run->journal.has_gap());
  ASSERT_TRUE(intake->take(discards({50, 51})));
  EXPECT_EQ(state->received_seq(), 51u);
  EXPECT_TRUE(run->journal.has_gap());
  world.settle();
  EXPECT_EQ(run->journal.stored_seq(), 51u);
  EXPECT_EQ(run->journal.limit_seq(), 3u);

  const auto again = intake->open(later, [](const std::string&) {});
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->streams.front().gap);
  EXPECT_THAT(refusal(discards({60})), HasSubstr("write 60 came after write 51"));
  ASSERT_TRUE(intake->take(one_caught_up(49, 52)));
  world.settle();
  EXPECT_FALSE(run->journal.has_gap());
  EXPECT_EQ(run->journal.limit_seq(), no_limit);
}

// What was received before the gap has to be in the copies: behind an open bracket it is not.
TEST_F(RemoteIntake, ItsCopiesCanBeComparedOnceTheyHoldWhatStandsBeforeTheGap) {
  run->journal.append(one_mark(CASCADE_MARK_DETACHED, 1));
  ASSERT_TRUE(intake->take(discards({2, 3})));
  world.settle();
  Hello later = hello();
  later.streams.front().first = 50;
  later.streams.front().gap = true;
  ASSERT_TRUE(intake->open(later, [](const std::string&) {}));
  EXPECT_EQ(intake->comparable_from(volume_a), 3u) << "nothing has come yet";
  ASSERT_TRUE(intake->take(discards({50, 51})));
  EXPECT_EQ(intake->comparable_from(volume_a), std::nullopt) << "not in the journal yet";
  world.settle();
  EXPECT_EQ(run->journal.limit_seq(), 0u);
  EXPECT_EQ(intake->comparable_from(volume_a), 3u);
  intake.reset();
  ASSERT_TRUE(run->stop_in_order());
  run.emplace(world, disk);
  state.reset(new ShipState{config, run->journal, {{volume_a, {intake_bytes, 512}}}});
  intake.emplace(*state);
  EXPECT_EQ(intake->comparable_from(volume_a), 3u) << "after a restart, too";
}

TEST_F(RemoteIntake, TakesTheHubsOrder) {
  ASSERT_TRUE(intake->take(discards({1, 2, 3})));
  ASSERT_TRUE(intake->take(discards({2, 3, 4}))) << "a resumed session may repeat";
  ASSERT_TRUE(intake->take(discards({1, 2})));
  EXPECT_EQ(state->received_seq(), 4u);
}

TEST_F(RemoteIntake, ComparesTheVolumesBeforeTheFirstWrite) {
  Hello h = hello();
  h.streams.push_back({volume_a});
  h.streams.back().bytes = intake_bytes;
  EXPECT_TRUE(intake->open(h, [](const std::string&) {}));
  h.streams.back().bytes += 512;
  EXPECT_THAT(intake->open(h, [](const std::string&) {}).error().text,
              HasSubstr("the remote's copy only 1048576"));
  h.streams.back() = {volume_b};
  EXPECT_THAT(intake->open(h, [](const std::string&) {}).error().text,
              HasSubstr("the remote's file has no volume"));
}

TEST_F(RemoteIntake, DoesNotFollowAVolumeWhoseCopyLacksWrites) {
  Hello h = hello();
  h.streams.push_back({volume_a});
  run->journal.set_dropped(volume_a);
  EXPECT_THAT(intake->open(h, [](const std::string&) {}).error().text, HasSubstr("lacks writes"));
}

TEST_F(RemoteIntake, TakesTheLastWritesOfAVolumeThatLeaves) {
  Hello h = hello();
  h.streams.push_back({volume_b});
  h.streams.back().leaving = true;
  ASSERT_TRUE(intake->open(h, [](const std::string&) {}));
  EXPECT_TRUE(intake->take(one_write(1, 512, 1, volume_b)));
}

TEST_F(RemoteIntake, SaysWhatItHoldsAndOfWhichHistory) {
  ASSERT_TRUE(intake->take(discards({1, 2, 3})));
  const auto welcome = intake->open(hello(), [](const std::string&) {});
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->streams[0].ack.received, 3u);
  EXPECT_EQ(welcome->streams[0].history, run->journal.received_history());
}

// H1
TEST_F(RemoteIntake, RefusesAVolumeThatItDoesNotHave) {
  EXPECT_THAT(refusal(one_write(1, 512, 1, make_uuid())), HasSubstr("give it the hub's file"));
}

// H2: the second would have been dropped for the first, and the journal have had a zero inside.
TEST_F(RemoteIntake, RefusesNumbersThatDoNotFollowEachOther) {
  for (const auto& seqs : std::vector<std::vector<std::uint64_t>>{
           {1, 0}, {0, 1}, {0}, {1, 1}, {1, 3}, {2, 1}, {1, 2, 2}})
    EXPECT_THAT(refusal(discards(seqs)), HasSubstr("belongs"));
  EXPECT_THAT(refusal(discards({2})), HasSubstr("write 2 came after write 0"));
}

// H3
TEST_F(RemoteIntake, RefusesWritesPastTheEndOfItsCopy) {
  const std::uint64_t end = intake_bytes / CASCADE_SECTOR_BYTES;
  for (const std::uint64_t sector : std::initializer_list<std::uint64_t>{
           end, end - 7, 1ULL << 55, (1ULL << 55) + 8, (1ULL << 62) - 1})
    EXPECT_THAT(refusal(one_write(1, 4096, 1, volume_a, sector)), HasSubstr("goes past"));
  EXPECT_TRUE(intake->take(one_write(1, 4096, 1, volume_a, end - 8)));
}

// H6: what is held back counts with all of its memory.
TEST_F(RemoteIntake, CountsTheMemoryThatItHolds) {
  state->upstream_stored = 0;
  Result<void> taken;
  std::size_t frames = 0;
  for (; taken && frames < 2000; ++frames) {
    auto in = one_write(frames + 1, 512, frames + 1);
    in.body_bytes = 1 << 20;
    taken = intake->take(std::move(in));
  }
  EXPECT_FALSE(taken);
  EXPECT_LT(frames, 40u);
}

class HubIntake : public testing::Test {
 protected:
  void SetUp() override {
    format(disk);
    run.emplace(world, disk);
    volumes.emplace(config, run->journal, world.clock);
    volumes->load([](const Uuid&) { return CopyShape{intake_bytes, 512}; });
  }
  static Hello hello(bool fresh, std::uint64_t first = 0, std::uint64_t last = 0) {
    Hello hello{group, "p1", SessionKind::mirror, {}};
    hello.streams.push_back({volume_a, first, last, fresh});
    return hello;
  }
  /// Why the first stream is refused; empty if it is not.
  static std::string refusal_of(MirrorIntake& intake, const Hello& hello) {
    const auto welcome = intake.open(hello, [](const std::string&) {});
    if (!welcome) return "the whole session: " + welcome.error().text;
    const auto& refusal = welcome->streams.at(0).refusal;
    return refusal ? refusal->text : "";
  }
  std::string refusal_of(const Hello& hello) {
    MirrorIntake intake(*volumes, "10.0.0.1");
    return refusal_of(intake, hello);
  }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
  GroupConfig config = make_group();
  std::optional<RunningJournal> run;
  std::optional<MirrorVolumes> volumes;
};

// I9: what closes brackets is the hub's to say, whatever numbers a primary gives it.
// `on-journal-full throttle`: nothing up to three quarters, then more and more.
TEST_F(HubIntake, SlowsPrimariesDownAsTheJournalFills) {
  GroupConfig slow = config;
  slow.on_journal_full = OnJournalFull::throttle;
  MirrorVolumes throttled(slow, run->journal, world.clock);
  MirrorIntake intake(throttled, "p1"), unthrottled(*volumes, "p1");
  Duration last{};
  for (std::uint64_t seq = 1; seq <= 60; ++seq) {
    run->put(seq, 256 * 1024);
    const bool room = run->journal.used_bytes() <= run->journal.size_bytes() / 4 * 3;
    EXPECT_EQ(intake.pause() == Duration{}, room) << seq;
    EXPECT_GE(intake.pause(), last);
    last = intake.pause();
    EXPECT_EQ(unthrottled.pause(), Duration{});
  }
  EXPECT_GT(last, std::chrono::milliseconds(100));
  EXPECT_LE(last, std::chrono::milliseconds(200));
}

TEST_F(HubIntake, TakesNoMarkOfAPrimary) {
  MirrorIntake intake(*volumes, "10.0.0.1");
  ASSERT_TRUE(intake.open(hello(true), [](const std::string&) {}));
  Record mark = make_caught_up(volume_a, 1, 1);
  set_group_seq(mark, 1);
  ASSERT_TRUE(check_record(mark));
  const auto taken = intake.take(make_incoming(std::span(&mark, 1), {}));
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().text, HasSubstr("only the hub makes them"));
  EXPECT_EQ(run->journal.received_seq(), 0u);
}

// W6
TEST_F(HubIntake, AnswersForEachVolumeByItself) {
  Hello both = hello(true);
  both.streams.push_back({make_uuid(), 0, 0, true});
  both.streams.push_back({volume_b, 0, 0, true});
  MirrorIntake intake(*volumes, "10.0.0.1");
  const auto welcome = intake.open(both, [](const std::string&) {});
  ASSERT_TRUE(welcome);
  ASSERT_EQ(welcome->streams.size(), 3u);
  EXPECT_FALSE(welcome->streams[0].refusal);
  EXPECT_THAT(welcome->streams[1].refusal->text, HasSubstr("has no volume"));
  EXPECT_THAT(welcome->streams[2].refusal->text, HasSubstr("belongs to primary p2"));
  EXPECT_TRUE(intake.take(one_write(1)));
  EXPECT_FALSE(intake.take(one_write(1, 512, 0, volume_b)));
}

// P12, P11
TEST_F(HubIntake, ComparesSizesBlocksAndSettingsBeforeTheFirstWrite) {
  Hello h = hello(true);
  h.streams[0].bytes = intake_bytes + 512;
  EXPECT_THAT(refusal_of(h), HasSubstr("the hub's copy only 1048576"));
  h.streams[0].bytes = intake_bytes;
  h.streams[0].hub_ack = CASCADE_ACK_MEMORY_SYNC;
  EXPECT_THAT(refusal_of(h), HasSubstr("has hub-ack memory-sync, the hub sync"));
  h.streams[0].hub_ack = CASCADE_ACK_SYNC;
  volumes->load([](const Uuid&) { return CopyShape{intake_bytes, 4096}; });
  h.streams[0].block = 512;
  EXPECT_THAT(refusal_of(h), HasSubstr("its blocks are of 512 bytes"));
  h.streams[0].block = 4096;
  EXPECT_EQ(refusal_of(h), "");
}

// P8: two machines that take themselves for p1.
TEST_F(HubIntake, TakesNoStreamAwayFromALivingSessionOfAnotherHost) {
  MirrorIntake original(*volumes, "10.0.0.1");
  ASSERT_EQ(refusal_of(original, hello(true)), "");
  ASSERT_TRUE(original.take(one_write(1)));
  world.settle();
  MirrorIntake clone(*volumes, "10.0.0.66");
  EXPECT_THAT(refusal_of(clone, hello(true)), HasSubstr("in a session from 10.0.0.1"));
  EXPECT_THAT(refusal_of(clone, hello(false, 1, 4)), HasSubstr("in a session from 10.0.0.1"));
  EXPECT_TRUE(original.take(one_write(2))) << "the original goes on";
  original.close();
  EXPECT_EQ(refusal_of(clone, hello(false, 1, 4)), "");
}

// P8: the clone began a ring while the original was away; when that comes back, its ring is not the
// one that the hub has gone on with.
TEST_F(HubIntake, TakesNoRingUpAgainAfterItHasGoneOnWithAnother) {
  Hello original = hello(true), clone = hello(true);
  original.streams[0].incarnation = *parse_uuid("11111111-0000-4000-8000-000000000001");
  clone.streams[0].incarnation = *parse_uuid("22222222-0000-4000-8000-000000000002");
  EXPECT_EQ(refusal_of(original), "");
  EXPECT_EQ(refusal_of(clone), "");
  original.streams[0].fresh = false;
  original.streams[0].first = 1;
  original.streams[0].last = 4;
  EXPECT_THAT(refusal_of(original), HasSubstr("gone on with ring 22222222, this is ring 11111111"));
  run->put(1);
  ASSERT_TRUE(run->stop_in_order());
  RunningJournal again(world, disk);
  EXPECT_EQ(again.journal.source(volume_a).incarnation, clone.streams[0].incarnation)
      << "over a restart";
  EXPECT_TRUE(again.stop_in_order());
}

/// As a volume comes whose metadata area says that its last ring ended there.
Hello ended(std::uint64_t end_seq, bool clean = true) {
  Hello h{group, "p1", SessionKind::mirror, {}};
  Hello::Stream stream{volume_a};
  stream.fresh = true;
  stream.generation = volume_b;
  stream.numbered = true;
  stream.clean = clean;
  stream.end_seq = end_seq;
  h.streams.push_back(stream);
  return h;
}

// P8 without numbers that give it away: a clone that comes alone, after an orderly end of both.
TEST_F(HubIntake, TakesNoDiskThatEndedInOrderBeforeTheHubDid) {
  EXPECT_EQ(refusal_of(ended(0)), "");
  run->put(3);
  volumes.emplace(config, run->journal, world.clock);
  volumes->load([](const Uuid&) { return CopyShape{intake_bytes, 512}; });
  EXPECT_THAT(refusal_of(ended(2)), HasSubstr("ended in order with write 2, but the hub holds "
                                              "writes through 3"));
  EXPECT_EQ(refusal_of(ended(3)), "") << "the original";
}

TEST_F(HubIntake, TakesNoDiskThatHasWritesTheHubHasLost) {
  EXPECT_EQ(refusal_of(ended(0)), "");
  for (const bool clean : {true, false})
    EXPECT_THAT(refusal_of(ended(7, clean)),
                HasSubstr("its disk has writes through 7, the hub only "
                          "through 0: the hub has lost writes"));
}

TEST_F(HubIntake, GoesOnAfterAnUncleanEndAndSaysSo) {
  EXPECT_EQ(refusal_of(ended(0)), "");
  run->put(4);
  volumes.emplace(config, run->journal, world.clock);
  volumes->load([](const Uuid&) { return CopyShape{intake_bytes, 512}; });
  Hello h = ended(1, false);
  h.streams[0].differs = CASCADE_DIFFERS_UNCLEAN;
  EXPECT_EQ(refusal_of(h), "");
  EXPECT_EQ(volumes->find(volume_a)->differs, unsigned{CASCADE_DIFFERS_UNCLEAN});
}

// What it was sent once and its primary may have lost since has to be in the copy.
TEST_F(HubIntake, ItsCopyCanBeComparedOnceItHoldsWhatItsPrimaryMayLack) {
  const auto from_with = [&](const Hello& hello) {
    MirrorIntake intake(*volumes, "10.0.0.1");
    EXPECT_TRUE(intake.open(hello, [](const std::string&) {}));
    return intake.comparable_from(volume_a);
  };
  EXPECT_EQ(from_with(hello(true)), 0u);
  {
    MirrorIntake intake(*volumes, "10.0.0.1");
    ASSERT_TRUE(intake.open(hello(true), [](const std::string&) {}));
    ASSERT_TRUE(intake.take(one_write(1, 512)));
    ASSERT_TRUE(intake.take(one_write(2, 512)));
    world.settle();
  }
  EXPECT_EQ(from_with(hello(false, 1, 2)), 0u) << "the same ring has them";
  Hello failed = hello(false, 1, 2);
  failed.streams[0].differs = CASCADE_DIFFERS_LOCAL;
  EXPECT_EQ(from_with(failed), 2u);
}

TEST_F(HubIntake, TakesNoVolumeWhoseCopyLacksWrites) {
  run->journal.set_dropped(volume_a);
  EXPECT_THAT(refusal_of(ended(0)), HasSubstr("the hub's copy lacks writes of it"));
}

TEST_F(HubIntake, TakesNoOtherGenerationOfAVolume) {
  EXPECT_EQ(refusal_of(ended(0)), "");
  Hello other = ended(0);
  other.streams[0].generation = group;
  EXPECT_THAT(refusal_of(other),
              HasSubstr("is of generation 6b6f0c1e, the hub's copy of 0b9c6f0e"));
  run->put(1);
  ASSERT_TRUE(run->stop_in_order());
  RunningJournal again(world, disk);
  EXPECT_EQ(again.journal.source(volume_a).generation, volume_b) << "over a restart";
  EXPECT_TRUE(again.stop_in_order());
}

TEST_F(HubIntake, TakesNoVolumeThatWasWithAnotherJournal) {
  Hello h = ended(0);
  h.streams[0].journal = group;
  EXPECT_THAT(refusal_of(h), HasSubstr("last with the hub's journal 6b6f0c1e, this is"));
  h.streams[0].journal = run->journal.id();
  EXPECT_EQ(refusal_of(h), "");
}

TEST_F(HubIntake, TellsTheRemoteOfItsVolumesAndOfThoseThatLeave) {
  int told = 0;
  volumes->on_change([&] { ++told; });
  Hello h = hello(true);
  h.streams[0].bytes = 4096;
  EXPECT_EQ(refusal_of(h), "");
  EXPECT_EQ(told, 1);
  const Uuid gone = make_uuid();
  run->put(1, 512, gone);
  const auto said = volumes->describe();
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(said[0].bytes, 4096u);
  EXPECT_FALSE(said[1].leaving);
  EXPECT_EQ(said[2].uuid, gone);
  EXPECT_TRUE(said[2].leaving);
  h.streams[0].parent = h.streams[0].generation;
  h.streams[0].generation = make_uuid();
  EXPECT_EQ(refusal_of(h), "");
  EXPECT_EQ(told, 2) << "it has parted";
}

// P6: numbered from "received", the new ring would have gone on behind writes that a crash loses.
TEST_F(HubIntake, NumbersAFreshRingFromWhatIsStored) {
  MirrorIntake old(*volumes, "10.0.0.1");
  ASSERT_TRUE(old.open(hello(true), [](const std::string&) {}));
  disk.hold_writes(true);
  ASSERT_TRUE(old.take(one_write(1)));
  world.settle();

  MirrorIntake fresh(*volumes, "10.0.0.1");
  EXPECT_THAT(refusal_of(fresh, hello(true)), HasSubstr("still storing writes 1 to 1"));
  EXPECT_FALSE(old.take(one_write(2))) << "the older session must not go on meanwhile";

  disk.hold_writes(false);
  world.settle();
  const auto welcome = fresh.open(hello(true), [](const std::string&) {});
  ASSERT_TRUE(welcome);
  EXPECT_FALSE(welcome->streams[0].refusal);
  EXPECT_EQ(welcome->streams[0].ack.received, 1u);
  EXPECT_EQ(welcome->streams[0].ack.stored, 1u);
}

TEST_F(HubIntake, RefusesWritesPastTheEndOfItsCopy) {
  MirrorIntake intake(*volumes, "10.0.0.1");
  ASSERT_TRUE(intake.open(hello(true), [](const std::string&) {}));
  const auto taken = intake.take(one_write(1, 4096, 0, volume_a, (std::uint64_t{1} << 55) + 8));
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().text, HasSubstr("goes past the hub's copy"));
}

TEST_F(HubIntake, RefusesVolumesThatTheSessionDidNotName) {
  MirrorIntake intake(*volumes, "10.0.0.1");
  ASSERT_TRUE(intake.open(hello(true), [](const std::string&) {}));
  EXPECT_FALSE(intake.take(one_write(1, 512, 0, volume_b)));
  EXPECT_FALSE(intake.take(one_write(2, 512))) << "a gap";
  EXPECT_TRUE(intake.take(one_write(1, 512)));
}

}  // namespace
}  // namespace cascade::test
