// SPDX-License-Identifier: GPL-2.0-or-later
//
// A remote that lacks more than the journal holds: what is marked, copied, left out and forgotten.
// I3, I8.
#include "daemon/path/catch_up.hpp"
#include "lib/base/checksum.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

constexpr std::uint64_t catch_up_bytes = 1 << 20;
constexpr std::uint64_t region = dirty_region_bytes_min;
constexpr std::size_t large = limits::record_payload_bytes_max;

class HubCatchUp : public testing::Test {
 protected:
  HubCatchUp() {
    config.name = "shop";
    config.uuid = group;
    for (const Uuid& uuid : {volume_a, volume_b}) config.volumes.push_back({"v", uuid, "p1", {}});
    format(disk);
    for (const Uuid& uuid : {volume_a, volume_b}) images[uuid].resize(catch_up_bytes);
    begin();
  }
  ~HubCatchUp() override { world.io.abandon(); }

  void begin() {
    run.emplace(world, disk);
    Applier::Copies copies;
    for (const Uuid& uuid : {volume_a, volume_b}) {
      auto copy = std::make_unique<MemoryDisk>(world.executor, "copy", images[uuid]);
      copies_[uuid] = copy.get();
      copies[uuid] = std::move(copy);
    }
    applier.emplace(world.executor, world.clock, run->journal, std::move(copies), "shop",
                    [this] { return catch_up->needed_from(); });
    feed.emplace(config, world.clock, run->journal);
    bracket.emplace(run->journal, world.clock);
    catch_up.emplace(
        CatchUp::Parts{config, world.clock, run->journal, disk, *applier, *feed, *bracket},
        [this](const Uuid& uuid) { return seqs[uuid]; });
    ASSERT_TRUE(world.get(catch_up->open()));
    run->crew.add(applier->run());
    run->crew.add(catch_up->run());
    world.settle();
  }

  void write(std::uint64_t at, std::size_t bytes = large, const Uuid& volume = volume_a) {
    run->journal.append(
        one_write(++seqs[volume], bytes, run->journal.next_seq(), volume, at / 512));
    world.settle();
  }
  /// So many large writes into the last region of the volume.
  void fill(int writes, const Uuid& volume = volume_b) {
    for (int i = 0; i < writes; ++i) write(3 * region, large, volume);
  }
  /// One write into the first region of volume a, then so much of others that it is given up.
  void fall_behind() {
    write(4096, 8192);
    fill(60);
    ASSERT_TRUE(catch_up->behind());
    pass_a_second();
  }
  void pass_a_second() {
    world.clock.advance(seconds(1));
    world.settle();
  }

  /// The remote, which holds `here`, has a session.
  Result<void> connect(std::uint64_t here, History history, bool gap = false) {
    Answer answer{{group, here, here}, history};
    answer.gap = gap;
    Welcome welcome{"r", {answer}, volume_b};
    welcome.answers_asks = answers_asks;
    return world.get(feed->begin(welcome));
  }
  /// It has one, has taken what the journal holds, and answers what it is asked.
  void connect_asked() {
    answers_asks = true;
    ASSERT_TRUE(connect(0, history_begin(group)));
    take();
    pass_a_second();
  }
  /// What the hub's copies hold now.
  std::map<Uuid, std::vector<std::byte>> held() {
    std::map<Uuid, std::vector<std::byte>> out;
    for (const auto& [uuid, copy] : copies_) out[uuid] = copy->image();
    return out;
  }
  /// What the remote, which has been asked, says that its copies hold: what `theirs` has.
  void answer(std::map<Uuid, std::vector<std::byte>>& theirs) {
    std::vector<Sum> sums;
    for (const Ask& ask : feed->asks()) {
      asked.push_back(ask);
      const auto content = std::span(theirs[ask.volume]).subspan(ask.begin, ask.bytes);
      sums.push_back({ask, content_sum(content)});
    }
    ASSERT_TRUE(feed->answered(sums));
    world.settle();
  }
  /// It takes what there is, and says that it has stored it. Copies of regions among that.
  std::vector<Record> take(bool store = true) {
    std::vector<Record> copied;
    std::uint64_t last = 0;
    for (;;) {
      const auto next = world.get(feed->next());
      if (!next || !*next) break;
      for (const Piece& piece : (*next)->pieces)
        for (const Record& record : piece.records) {
          last = group_seq_of(record);
          if ((record.flags & CASCADE_FLAG_RESYNC) != 0 || record.op == CASCADE_OP_MARK)
            copied.push_back(record);
        }
    }
    if (last > 0 && store) ack(last);
    world.settle();
    return copied;
  }
  void ack(std::uint64_t seq) {
    const Ack all{group, seq, seq};
    ASSERT_TRUE(feed->acked(std::span(&all, 1)));
    world.settle();
  }
  /// Until it has all that there is.
  std::vector<Record> take_all() {
    std::vector<Record> all;
    for (int i = 0; i < 8; ++i) {
      const auto some = take();
      all.insert(all.end(), some.begin(), some.end());
      pass_a_second();
    }
    return all;
  }
  /// What the map on disk says.
  DirtyMap map_on_disk() {
    DirtyMap map({{volume_a, catch_up_bytes}, {volume_b, catch_up_bytes}});
    const auto number = superblock_on(disk).behind.map;
    map.load(number, std::span<const std::byte>(disk.image())
                         .subspan(dirty_map_offset(number), dirty_map_bytes));
    return map;
  }
  static bool is_caught_up(const Record& record) {
    return record.op == CASCADE_OP_MARK &&
           CASCADE_MARK_OF(sector_of(record)) == CASCADE_MARK_CAUGHT_UP;
  }

  bool answers_asks = false;
  std::vector<Ask> asked;
  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
  GroupConfig config;
  std::map<Uuid, std::vector<std::byte>> images;
  std::map<Uuid, MemoryDisk*> copies_;
  std::map<Uuid, std::uint64_t> seqs;
  std::optional<RunningJournal> run;
  std::optional<Applier> applier;
  std::optional<JournalFeed> feed;
  std::optional<Bracket> bracket;
  std::optional<CatchUp> catch_up;
};

TEST_F(HubCatchUp, MarksOnDiskWhatTheJournalGivesUp) {
  fall_behind();
  EXPECT_GT(run->journal.first_seq(), 1u);
  EXPECT_EQ(run->journal.stored_seq(), 61u) << "nobody waits";
  const RemoteBehind behind = superblock_on(disk).behind;
  EXPECT_EQ(behind.seq, 0u);
  EXPECT_EQ(behind.history, history_begin(group));
  EXPECT_NE(behind.since_ns, 0u);
  const auto first = map_on_disk().next(0);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->volume, volume_a);
  EXPECT_EQ(first->begin, 0u);
  EXPECT_EQ(map_on_disk().marked_bytes(), 2 * region) << "and the last one of volume b";
}

TEST_F(HubCatchUp, KeepsWhatItIsToldToKeep) {
  config.on_journal_full = OnJournalFull::block;
  fill(66);
  EXPECT_FALSE(catch_up->behind());
  EXPECT_EQ(run->journal.first_seq(), 1u);
  EXPECT_TRUE(run->journal.starved());
}

TEST_F(HubCatchUp, GivesUpNothingThatTheCopiesStillNeed) {
  for (auto& [uuid, copy] : copies_) copy->hold_writes(true);
  fill(66);
  EXPECT_FALSE(catch_up->behind());
  EXPECT_TRUE(run->journal.starved());
  for (auto& [uuid, copy] : copies_) copy->hold_writes(false);
  world.settle();
  EXPECT_TRUE(catch_up->behind());
  EXPECT_FALSE(run->journal.starved());
}

TEST_F(HubCatchUp, CopiesEachMarkedRegionAndClosesTheBracket) {
  fall_behind();
  ASSERT_TRUE(connect(0, history_begin(group)));
  const auto copied = take_all();
  ASSERT_EQ(copied.size(), 3u);
  EXPECT_EQ(volume_of(copied[0]), volume_a);
  EXPECT_EQ(length_of(copied[0]), region);
  EXPECT_EQ(volume_seq_of(copied[0]), 1u) << "the volume has sent no more than it had";
  EXPECT_EQ(copied[0].op, CASCADE_OP_WRITE);
  EXPECT_EQ(volume_of(copied[1]), volume_b);
  EXPECT_TRUE(is_caught_up(copied[2]));
  EXPECT_FALSE(catch_up->behind());
  EXPECT_EQ(superblock_on(disk).behind.map, 0u);
  EXPECT_GT(catch_up->needed_from(), run->journal.received_seq()) << "nothing is kept for it";
}

// What the remote has already is not copied to it.
TEST_F(HubCatchUp, CopiesOnlyWhatTheRemoteHoldsOtherwise) {
  fall_behind();
  auto theirs = held();
  theirs[volume_a][5000] ^= std::byte{1};
  connect_asked();
  EXPECT_TRUE(take().empty()) << "nothing before it has answered";
  answer(theirs);
  const auto copied = take_all();
  ASSERT_EQ(copied.size(), 2u);
  EXPECT_EQ(volume_of(copied[0]), volume_a);
  EXPECT_EQ(length_of(copied[0]), region);
  EXPECT_TRUE(is_caught_up(copied[1]));
  EXPECT_THAT(asked,
              testing::ElementsAre(Ask{volume_a, 0, region}, Ask{volume_b, 3 * region, region}));
  EXPECT_EQ(catch_up->same_bytes(), region);
  EXPECT_FALSE(catch_up->behind());
}

// The hub's copy is compared as it is when the part's turn comes, not as it was when it was asked.
TEST_F(HubCatchUp, ComparesWhatItsCopyHoldsByThen) {
  fall_behind();
  auto theirs = held();
  connect_asked();
  write(0, 4096);
  ASSERT_TRUE(held() != theirs);
  answer(theirs);
  EXPECT_EQ(catch_up->same_bytes(), region) << "that of volume b";
  std::size_t copied = 0;
  for (const Record& record : take_all())
    if (volume_of(record) == volume_a) copied += length_of(record);
  EXPECT_EQ(copied, region);
}

TEST_F(HubCatchUp, CopiesWhatNothingIsKnownOf) {
  fall_behind();
  connect_asked();
  std::vector<Sum> sums;
  for (const Ask& ask : feed->asks()) sums.push_back({ask});
  ASSERT_EQ(sums.size(), 2u);
  ASSERT_TRUE(feed->answered(sums));
  world.settle();
  EXPECT_EQ(take_all().size(), 3u);
  EXPECT_EQ(catch_up->same_bytes(), 0u);
}

// A session that ends takes its questions with it; the next one asks anew.
TEST_F(HubCatchUp, AsksAgainInTheNextSession) {
  fall_behind();
  connect_asked();
  EXPECT_EQ(feed->asks().size(), 2u);
  const std::uint64_t here = feed->remote_stored();
  feed->end();
  world.settle();
  ASSERT_TRUE(connect(here, run->journal.received_history(), true));
  pass_a_second();
  auto theirs = held();
  answer(theirs);
  EXPECT_EQ(asked.size(), 2u);
  EXPECT_EQ(take_all().size(), 1u) << "only the mark";
  EXPECT_FALSE(catch_up->behind());
}

// What it falls behind with while it waits for an answer is asked for again, whatever that says.
TEST_F(HubCatchUp, DropsAnswersThatCameTooLate) {
  fall_behind();
  connect_asked();
  const auto late = feed->asks();
  ASSERT_EQ(late.size(), 2u);
  const std::uint64_t first = run->journal.first_seq();
  for (int i = 0; i < 66; ++i) {
    fill(1, volume_a);
    take(false);
  }
  ASSERT_GT(run->journal.first_seq(), first) << "it has fallen behind once more";
  std::vector<Sum> sums;
  for (const Ask& ask : late) sums.push_back({ask, ContentSum{}});
  ASSERT_TRUE(feed->answered(sums));
  ack(run->journal.received_seq());
  pass_a_second();
  auto theirs = held();
  answer(theirs);
  EXPECT_EQ(asked.size(), 3u) << "and the region that was written meanwhile";
  take_all();
  EXPECT_EQ(catch_up->same_bytes(), 3 * region);
  EXPECT_FALSE(catch_up->behind());
}

TEST_F(HubCatchUp, BelievesNoAnswerThatWasNotAskedFor) {
  fall_behind();
  connect_asked();
  const Sum other{{volume_a, 512, 512}};
  EXPECT_FALSE(feed->answered(std::span(&other, 1)));
}

// The copy that is read has to hold everything that was received when the region's turn came.
TEST_F(HubCatchUp, WaitsForTheCopiesBeforeItReadsThem) {
  fall_behind();
  ASSERT_TRUE(connect(0, history_begin(group)));
  copies_[volume_a]->hold_writes(true);
  write(8192, 4096);
  take();
  pass_a_second();
  take();
  const std::uint64_t before = run->journal.received_seq();
  EXPECT_EQ(catch_up->out_of_sync_bytes(), 2 * region) << "it waits";
  copies_[volume_a]->hold_writes(false);
  world.settle();
  EXPECT_GT(run->journal.received_seq(), before);
  const auto copied = take();
  ASSERT_FALSE(copied.empty());
  EXPECT_EQ(length_of(copied[0]), region);
  EXPECT_EQ(le32toh(copied[0].payload_crc),
            crc32c(std::span<const std::byte>(copies_[volume_a]->image()).first(region)));
}

// What was written since reaches the remote in order; an older state must not come behind it.
TEST_F(HubCatchUp, LeavesOutWhatWasWrittenMeanwhile) {
  fall_behind();
  ASSERT_TRUE(connect(0, history_begin(group)));
  copies_[volume_a]->hold_writes(true);
  write(2 * region, 4096);  // the copies are not up to this when the region's turn comes
  take();
  pass_a_second();
  write(16384, 4096);
  copies_[volume_a]->hold_writes(false);
  world.settle();
  std::vector<Record> of_a;
  for (const Record& record : take_all())
    if (record.op != CASCADE_OP_MARK && volume_of(record) == volume_a) of_a.push_back(record);
  ASSERT_EQ(of_a.size(), 2u);
  EXPECT_EQ(sector_of(of_a[0]), 0u);
  EXPECT_EQ(length_of(of_a[0]), 16384u);
  EXPECT_EQ(sector_of(of_a[1]), 20480u / 512);
  EXPECT_EQ(length_of(of_a[1]), region - 20480u);
  EXPECT_FALSE(catch_up->behind());
}

TEST_F(HubCatchUp, ForgetsAMarkOnlyWhenTheRemoteHasStoredTheCopy) {
  fall_behind();
  ASSERT_TRUE(connect(0, history_begin(group)));
  take();
  pass_a_second();
  const auto copied = take(false);
  ASSERT_FALSE(copied.empty());
  EXPECT_EQ(catch_up->out_of_sync_bytes(), 2 * region);
  feed->end();
  pass_a_second();
  EXPECT_EQ(map_on_disk().marked_bytes(), 2 * region);
  EXPECT_EQ(superblock_on(disk).behind.seq, feed->remote_stored()) << "but it never has less";
}

TEST_F(HubCatchUp, GoesOnAfterARestart) {
  fall_behind();
  world.get(run->journal.close());
  for (const Uuid& uuid : {volume_a, volume_b}) images[uuid] = copies_[uuid]->image();
  const auto image = disk.image();
  run->journal.stop();
  applier->stop();
  catch_up->stop();
  world.settle();
  disk.image() = image;
  begin();
  EXPECT_TRUE(catch_up->behind());
  EXPECT_EQ(catch_up->out_of_sync_bytes(), 2 * region);
  ASSERT_TRUE(connect(0, history_begin(group)));
  take_all();
  EXPECT_FALSE(catch_up->behind());
}

// Its acknowledgements had not arrived before the link broke: nothing has to be copied.
TEST_F(HubCatchUp, TakesTheRemoteForWholeThatHasEverything) {
  fall_behind();
  const auto seq = run->journal.stored_seq();
  ASSERT_TRUE(connect(seq, *world.get(run->journal.history_at(seq))));
  world.settle();
  EXPECT_FALSE(catch_up->behind());
  EXPECT_EQ(run->journal.received_seq(), seq);
}

TEST_F(HubCatchUp, ClosesNothingThatItHasToOpenAgain) {
  fall_behind();
  ASSERT_TRUE(connect(0, history_begin(group)));
  for (int i = 0; i < 4; ++i) {
    take(i < 3);  // the mark that closes the bracket gets lost with the session
    pass_a_second();
  }
  feed->end();
  write(region, 8192);
  fill(60);
  pass_a_second();
  ASSERT_TRUE(catch_up->behind());
  const auto at = feed->remote_stored();
  const auto history = superblock_on(disk).behind.history;
  ASSERT_TRUE(connect(at, history, true));
  const auto copied = take_all();
  ASSERT_FALSE(copied.empty());
  std::size_t closing = 0;
  for (const Record& record : copied) closing += is_caught_up(record) ? 1 : 0;
  EXPECT_EQ(closing, 1u);
  EXPECT_FALSE(catch_up->behind());
}

TEST_F(HubCatchUp, CopiesNothingBehindTheVolumesEnd) {
  run->journal.set_volume_bytes(volume_a, 8192 + 4096);
  fall_behind();
  ASSERT_TRUE(connect(0, history_begin(group)));
  const auto copied = take_all();
  ASSERT_FALSE(copied.empty());
  EXPECT_EQ(length_of(copied[0]), 8192u + 4096u);
  EXPECT_FALSE(catch_up->behind());
}

// Not even where the journal still holds what it lacks: copies that it had are not made again.
TEST_F(HubCatchUp, GoesOnWithNoRemoteThatHoldsLessThanItHad) {
  fall_behind();
  ASSERT_TRUE(connect(0, history_begin(group)));
  take();
  const auto less = run->journal.first_seq() + 1;
  feed->end();
  const auto again = connect(less, *world.get(run->journal.history_at(less)), true);
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().text, HasSubstr("its journal was restored"));
}

// Its mark may be among what the remote was not sent.
TEST_F(HubCatchUp, SaysHowVolumesStandBeforeItClosesTheBracket) {
  write(4096, 8192);
  bracket->detach(volume_b, CASCADE_WHY_RESEND);
  world.settle();
  ASSERT_TRUE(bracket->leave(volume_b));
  world.settle();
  fill(60, volume_a);
  ASSERT_TRUE(catch_up->behind());
  pass_a_second();
  ASSERT_TRUE(connect(0, history_begin(group)));
  const auto copied = take_all();
  ASSERT_GE(copied.size(), 2u);
  const Record& left = copied[copied.size() - 2];
  EXPECT_TRUE(is_caught_up(copied.back()));
  EXPECT_EQ(CASCADE_MARK_OF(sector_of(left)), CASCADE_MARK_LEFT);
  EXPECT_EQ(volume_of(left), volume_b);
}

TEST_F(HubCatchUp, SaysWhyItCannotGoOn) {
  fall_behind();
  copies_[volume_a]->image().resize(4096);  // the rest of it can't be read
  ASSERT_TRUE(connect(0, history_begin(group)));
  take_all();
  ASSERT_TRUE(catch_up->failure());
  EXPECT_THAT(catch_up->failure()->text, HasSubstr("copy"));
  EXPECT_TRUE(catch_up->behind());
}

}  // namespace
}  // namespace cascade::test
