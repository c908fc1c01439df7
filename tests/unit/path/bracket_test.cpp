// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bracket at the hub: what opens it, what it waits for, what ends it. I3, I8; P1 to P3.
#include "daemon/path/mirror_intake.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

#include <list>
#include <random>

namespace cascade::test {
namespace {

using testing::HasSubstr;

GroupConfig make_group() {
  GroupConfig g;
  g.name = "shop";
  g.uuid = group;
  g.hub = "h";
  g.hub_ack = AckWhen::memory_sync;
  g.volumes.push_back({"orders", volume_a, "p1", {}, 1 << 20});
  g.volumes.push_back({"ledger", volume_b, "p2", {}, 1 << 20});
  return g;
}

const Uuid ring_a = make_uuid(), ring_b = make_uuid();

/// A hub under memory-sync whose disk can be taken over by another life of it.
class HubBracket : public testing::Test {
 protected:
  void SetUp() override {
    format(disk);
    live();
    for (const auto& [uuid, ring] : {std::pair(volume_a, ring_a), std::pair(volume_b, ring_b)})
      run->journal.set_source(uuid, {ring, {}});
    ASSERT_TRUE(world.get(run->journal.persist()));
    run->put(1);
  }
  /// The next life of the hub; nobody stopped the one before.
  void live() {
    volumes.reset();
    run = &lives.emplace_back(world, disk);
    ASSERT_TRUE(run->opened) << run->opened.error().text;
    volumes.emplace(config, run->journal, world.clock);
    volumes->load([](const Uuid&) { return CopyShape{1 << 20, 512}; });
    volumes->resume();
    world.settle();
  }
  /// A session of the volume, whose ring holds writes through `last`.
  std::unique_ptr<MirrorIntake> session(const Uuid& volume, std::uint64_t last,
                                        const Uuid& ring = {}, bool fresh = false,
                                        std::uint64_t out_of_sync = 0) {
    const bool a = volume == volume_a;
    Hello hello{group, a ? "p1" : "p2", SessionKind::mirror, {}};
    hello.streams.push_back({volume, 1, last, fresh});
    hello.streams[0].incarnation = ring != Uuid{} ? ring : a ? ring_a : ring_b;
    hello.streams[0].out_of_sync = out_of_sync;
    auto intake = std::make_unique<MirrorIntake>(*volumes, "10.0.0.1");
    const auto welcome = intake->open(hello, [](const std::string&) {});
    EXPECT_FALSE(welcome->streams[0].refusal) << welcome->streams[0].refusal->text;
    world.settle();
    return intake;
  }
  void send(MirrorIntake& intake, const Uuid& volume, std::uint64_t seq) {
    ASSERT_TRUE(intake.take(one_write(seq, 512, 0, volume)));
    world.settle();
  }
  std::uint64_t limit() const { return run->journal.limit_seq(); }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
  GroupConfig config = make_group();
  std::list<RunningJournal> lives;
  RunningJournal* run = nullptr;
  std::optional<MirrorVolumes> volumes;
};

// P1, P2: volume b was never stored, but may have been received.
TEST_F(HubBracket, IsOpenAfterACrashUntilEveryRingHasSentAgain) {
  live();
  EXPECT_EQ(limit(), 1u);
  const auto b = session(volume_b, 2);
  send(*b, volume_b, 1);
  send(*b, volume_b, 2);
  EXPECT_EQ(limit(), 1u) << "volume a has not come back";
  const auto a = session(volume_a, 3);
  send(*a, volume_a, 2);
  EXPECT_EQ(limit(), 1u) << "write 3 of a is still missing";
  send(*b, volume_b, 3);
  send(*a, volume_a, 3);
  EXPECT_EQ(limit(), no_limit);
  EXPECT_EQ(run->journal.whole_from(), run->journal.stored_seq());
}

TEST_F(HubBracket, IsNotOpenedUnderSyncNorAfterAnOrderlyEnd) {
  ASSERT_TRUE(run->stop_in_order());
  live();
  EXPECT_EQ(limit(), no_limit);
  config.hub_ack = AckWhen::sync;
  live();
  EXPECT_EQ(limit(), no_limit);
}

TEST_F(HubBracket, DoesNotWaitForAVolumeThatNeverHadASession) {
  config.volumes.push_back({"new", make_uuid(), "p1", {}, 1 << 20});
  live();
  (void)session(volume_a, 1);
  (void)session(volume_b, 0);
  EXPECT_EQ(limit(), no_limit);
}

// P3: what was named goes with the ring that named it.
TEST_F(HubBracket, AsksAgainWhenAPrimaryComesBackWithAFreshRing) {
  live();
  (void)session(volume_b, 0);
  {
    const auto a = session(volume_a, 30);
    send(*a, volume_a, 2);
  }
  EXPECT_EQ(limit(), 1u);
  (void)session(volume_a, 0, make_uuid(), true);
  EXPECT_EQ(limit(), no_limit);
}

// What is new does not move the end: under load a link that breaks often enough would never get
// there.
TEST_F(HubBracket, WaitsForWhatTheRingHeldFirst) {
  live();
  (void)session(volume_b, 0);
  (void)session(volume_a, 3);
  const auto a = session(volume_a, 50);
  send(*a, volume_a, 2);
  EXPECT_EQ(limit(), 1u);
  send(*a, volume_a, 3);
  EXPECT_EQ(limit(), no_limit);
}

TEST_F(HubBracket, GoesOnAfterAnotherCrashInTheMiddle) {
  live();
  {
    const auto b = session(volume_b, 1);
    send(*b, volume_b, 1);
  }
  live();
  EXPECT_EQ(limit(), 1u);
  (void)session(volume_b, 1);
  EXPECT_EQ(limit(), 1u);
  (void)session(volume_a, 1);
  EXPECT_EQ(limit(), no_limit);
}

// P3: a volume that does not come back, or named what it never sends.
TEST_F(HubBracket, IsEndedByNameWithoutAVolume) {
  live();
  (void)session(volume_a, (std::uint64_t{1} << 62) - 1);
  (void)session(volume_b, 0);
  EXPECT_EQ(limit(), 1u);
  EXPECT_THAT(volumes->bracket().leave(volume_b).error().text, HasSubstr("does not wait for"));
  ASSERT_TRUE(volumes->bracket().leave(volume_a));
  world.settle();
  EXPECT_EQ(limit(), no_limit);
  EXPECT_EQ(run->journal.places().at(volume_a).standing.mark, CASCADE_MARK_LEFT);
  EXPECT_FALSE(volumes->bracket().leave(volume_a)) << "twice";

  ASSERT_TRUE(run->stop_in_order());
  live();
  EXPECT_EQ(run->journal.places().at(volume_a).standing.mark, CASCADE_MARK_LEFT)
      << "over a restart";
  const auto back = session(volume_a, 3);
  EXPECT_NE(limit(), no_limit) << "what it sends is one step for the others";
  send(*back, volume_a, 2);
  send(*back, volume_a, 3);
  EXPECT_EQ(limit(), no_limit);
  EXPECT_EQ(run->journal.places().at(volume_a).standing.mark, CASCADE_MARK_ATTACHED);
}

TEST_F(HubBracket, DoesNotWaitForAVolumeThatWasTakenOutOfTheFile) {
  live();
  EXPECT_EQ(limit(), 1u);
  config.volumes.pop_back();
  live();
  (void)session(volume_a, 1);
  EXPECT_EQ(limit(), no_limit);
}

/// What a kernel sends of a resync.
Incoming resync_record(std::uint64_t seq, std::uint8_t op = CASCADE_OP_WRITE_ZEROES) {
  Record r = make_record(seq, {}, 0, volume_a, op, op == CASCADE_OP_NOOP ? 0 : 4096);
  r.flags = CASCADE_FLAG_RESYNC;
  seal(r);
  return make_incoming(std::span(&r, 1), {});
}

// I3, I6: a primary lost power; from its first word on until all is copied nothing is shown.
TEST_F(HubBracket, IsOpenWhileAVolumeIsCopied) {
  config.hub_ack = AckWhen::sync;
  live();
  const auto a = session(volume_a, 0, make_uuid(), true, 512);
  EXPECT_EQ(limit(), 1u);
  ASSERT_TRUE(a->take(resync_record(2)));
  send(*a, volume_a, 3);
  EXPECT_EQ(limit(), 1u);
  ASSERT_TRUE(a->take(resync_record(4, CASCADE_OP_NOOP)));
  world.settle();
  EXPECT_EQ(limit(), no_limit);
  EXPECT_FALSE(a->take(resync_record(5))) << "nothing is out of sync any more";
}

TEST_F(HubBracket, StaysOpenWhenACopyingPrimaryIsLost) {
  config.hub_ack = AckWhen::sync;
  live();
  const Uuid ring = make_uuid();
  {
    const auto a = session(volume_a, 0, ring, true, 512);
    ASSERT_TRUE(a->take(resync_record(2)));
    world.settle();
  }
  EXPECT_EQ(limit(), 1u);
  ASSERT_TRUE(run->stop_in_order());
  live();
  EXPECT_EQ(limit(), 1u) << "over a restart of the hub";
  const auto a = session(volume_a, 2, ring, false, 256);
  EXPECT_EQ(limit(), 1u);
  ASSERT_TRUE(a->take(resync_record(3, CASCADE_OP_NOOP)));
  world.settle();
  EXPECT_EQ(limit(), no_limit);
}

// The last word of a resync was on its way when the session ended. A primary that says that nothing
// is out of sync has seen all of it stored here.
TEST_F(HubBracket, IsClosedByAPrimaryThatHasNothingOutOfSync) {
  config.hub_ack = AckWhen::sync;
  live();
  const Uuid ring = make_uuid();
  {
    const auto a = session(volume_a, 0, ring, true, 512);
    ASSERT_TRUE(a->take(resync_record(2)));
  }
  EXPECT_EQ(limit(), 1u);
  const auto again = session(volume_a, 3, ring);
  EXPECT_EQ(limit(), no_limit);
  EXPECT_TRUE(again->take(resync_record(3, CASCADE_OP_NOOP))) << "not a copy, but the end of them";
}

TEST_F(HubBracket, TakesNoMarkFromAPrimary) {
  const auto a = session(volume_a, 1);
  EXPECT_FALSE(a->take(one_mark(CASCADE_MARK_DETACHED, 9, volume_a)));
}

// Recovery goes over marks that the superblock knows already: from every tail it comes to one end.
TEST(JournalPlaces, EndAtTheSameFromEveryTail) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937 lots(seed);
    std::vector<Record> records;
    const std::vector<Uuid> uuids{volume_a, volume_b, group};
    std::map<Uuid, std::uint64_t> seqs;
    std::vector<Places> at(1);
    for (std::uint64_t n = 1; n <= 40; ++n) {
      const Uuid& uuid = uuids[lots() % 3];
      Record r = lots() % 2 == 0 ? make_record(++seqs[uuid], {}, 0, uuid, CASCADE_OP_NOOP)
                                 : make_mark(uuid, static_cast<cascade_mark>(1 + lots() % 3),
                                             CASCADE_WHY_RESEND, n);
      set_group_seq(r, n);
      records.push_back(r);
      at.push_back(at.back());
      at.back().follow(r);
    }
    for (std::size_t known = 0; known <= records.size(); ++known)
      for (std::size_t tail = 0; tail <= known; ++tail) {
        Places places(at[known].volumes(), at[known].limit_seq(), Gap{}, known);
        for (const Record& r : std::span(records).subspan(tail)) places.follow(r);
        ASSERT_EQ(places.limit_seq(), at.back().limit_seq())
            << "seed " << seed << ", superblock at " << known << ", tail at " << tail;
        ASSERT_EQ(places.volumes(), at.back().volumes()) << seed << " " << known << " " << tail;
      }
  }
}

// ---- leases

using std::chrono::milliseconds;

class HubLease : public HubBracket {
 protected:
  void SetUp() override {
    config.hub_ack = AckWhen::sync;
    config.lease = milliseconds(400);
    HubBracket::SetUp();
  }
  /// A session of volume a under `never`; its ring is the one of before if not fresh.
  std::unique_ptr<MirrorIntake> leased(std::uint64_t last) {
    Hello hello{group, "p1", SessionKind::mirror, {{volume_a, 1, last}}};
    hello.streams[0].incarnation = ring_a;
    hello.streams[0].fence = CASCADE_FENCE_NEVER;
    auto intake = std::make_unique<MirrorIntake>(*volumes, "10.0.0.1");
    welcome = *intake->open(hello, [this](const std::string& why) { ended = why; });
    EXPECT_TRUE(world.get(run->journal.persist()));
    return intake;
  }
  Welcome welcome;
  std::string ended;
  std::unique_ptr<MirrorIntake> offered;
};

TEST_F(HubLease, RunsFromTheEchoedRenewalAndEndsWithAMark) {
  const auto a = leased(1);
  EXPECT_EQ(welcome.lease, milliseconds(400));
  world.clock.advance(milliseconds(300));
  const std::uint64_t renewal = a->tally(true);
  world.clock.advance(milliseconds(50));
  a->told(renewal);
  EXPECT_EQ(volumes->lease_left(volume_a), milliseconds(350));
  world.clock.advance(milliseconds(349));
  volumes->close_leases();
  EXPECT_EQ(ended, "");
  world.clock.advance(milliseconds(1));
  volumes->close_leases();
  world.settle();
  EXPECT_THAT(ended, HasSubstr("the lease of orders has run out"));
  EXPECT_EQ(limit(), 1u);
  EXPECT_EQ(volumes->bracket().apart().at(volume_a).standing.why, CASCADE_WHY_ALONE);
  EXPECT_FALSE(a->take(one_write(2, 512, 0, volume_a))) << "its session is over";
}

// The hub stood still: nothing comes before the mark, whatever is looked at first.
TEST_F(HubLease, IsClosedBeforeAnythingElseIsTakenOrAcknowledged) {
  for (const bool taken : {true, false}) {
    live();
    const auto a = leased(1);
    const auto b = session(volume_b, 5);
    a->told(1);
    world.settle();
    ASSERT_EQ(limit(), no_limit);
    const std::uint64_t before = run->journal.received_seq();
    world.clock.move(milliseconds(500));
    std::vector<Ack> acks;
    if (taken)
      send(*b, volume_b, run->journal.stored_volume_seq(volume_b) + 1);
    else
      b->acks(acks);
    world.settle();
    EXPECT_EQ(limit(), before);
  }
}

TEST_F(HubLease, OfAnEarlierLifeOfTheHubCountsAsRunOut) {
  (void)leased(1);
  ASSERT_TRUE(run->stop_in_order());
  live();
  EXPECT_EQ(limit(), 1u);
  const auto a = leased(1);
  EXPECT_EQ(limit(), 1u) << "it may have gone on alone since its hello";
  a->told(1);
  world.settle();
  EXPECT_EQ(limit(), no_limit);
}

TEST_F(HubLease, IsNotLongerForASessionThatNobodyAnswered) {
  const auto a = leased(1);
  a->told(1);
  world.clock.advance(milliseconds(390));
  const auto again = leased(1);
  world.clock.advance(milliseconds(10));
  volumes->close_leases();
  world.settle();
  EXPECT_EQ(limit(), 1u);
  EXPECT_NE(ended, "");
}

// fence-level status: "go on only if the hub could be marked as behind".
TEST_F(HubLease, IsClosedForARefusedVolumeThatAsksForIt) {
  Uuid ring = ring_a;
  const auto offer = [&](cascade_fence fence, std::uint64_t bytes, std::uint64_t out_of_sync) {
    Hello hello{group, "p1", SessionKind::mirror, {{volume_a}}};
    hello.streams[0].fresh = true;
    hello.streams[0].incarnation = ring;
    hello.streams[0].fence = fence;
    hello.streams[0].bytes = bytes;
    hello.streams[0].out_of_sync = out_of_sync;
    offered = std::make_unique<MirrorIntake>(*volumes, "10.0.0.1");
    const Welcome answer = *offered->open(hello, [](const std::string&) {});
    EXPECT_TRUE(world.get(run->journal.persist()));
    world.settle();
    return answer.streams[0];
  };
  EXPECT_FALSE(offer(CASCADE_FENCE_DATA, 2 << 20, 0).detached);
  EXPECT_EQ(limit(), no_limit);
  const Answer answer = offer(CASCADE_FENCE_STATUS, 2 << 20, 0);
  EXPECT_TRUE(answer.refusal && answer.detached);
  EXPECT_EQ(limit(), 1u);
  ASSERT_TRUE(run->stop_in_order());
  live();
  EXPECT_EQ(limit(), 1u) << "also if the mark had been lost";
  ring = make_uuid();
  const Answer back = offer(CASCADE_FENCE_STATUS, 1 << 20, 512);
  EXPECT_FALSE(back.refusal) << back.refusal->text;
  volumes->bracket().resynced(volume_a, back.ack.received);
  world.settle();
  EXPECT_EQ(limit(), no_limit);
}

TEST_F(HubLease, EndsWithAVolumeThatEndsInOrder) {
  const auto a = leased(1);
  a->told(1);
  const auto leaves = [&](std::uint64_t last, const Uuid& ring) {
    Hello hello{group, "p1", SessionKind::mirror, {{volume_a, last + 1, last}}};
    hello.streams[0].incarnation = ring;
    hello.streams[0].leaving = true;
    const auto answer = MirrorIntake(*volumes, "10.0.0.1").open(hello, [](const std::string&) {});
    return !answer->streams[0].refusal;
  };
  EXPECT_FALSE(leaves(1, ring_a)) << "the hub lacks write 1";
  EXPECT_FALSE(leaves(0, make_uuid())) << "it is not the ring that it has";
  EXPECT_TRUE(leaves(0, ring_a));
  EXPECT_FALSE(volumes->lease_left(volume_a));
  EXPECT_FALSE(run->journal.leased(volume_a));
  world.clock.advance(milliseconds(1000));
  volumes->close_leases();
  world.settle();
  EXPECT_EQ(limit(), no_limit);
}

TEST_F(HubLease, IsNoneForAVolumeThatWaits) {
  (void)leased(1);
  (void)session(volume_a, 1);
  EXPECT_FALSE(volumes->lease_left(volume_a));
  EXPECT_TRUE(world.get(run->journal.persist()));
  ASSERT_TRUE(run->stop_in_order());
  live();
  EXPECT_EQ(limit(), no_limit);
}

}  // namespace
}  // namespace cascade::test
