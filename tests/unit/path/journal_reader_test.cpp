// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading a journal back: what it costs is counted in bytes and in reads of the disk, for a reader
// that costs more than what it reads is one that never catches up.
#include "daemon/path/journal_reader.hpp"
#include "daemon/path/journal_feed.hpp"
#include "lib/config/config.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

constexpr std::uint64_t MiB = 1024 * 1024;

class Reader : public testing::Test {
 protected:
  void SetUp() override { format(disk); }

  /// So many batches of one write; none of them stays in memory.
  void fill(RunningJournal& run, std::uint64_t writes, std::size_t bytes = 4096) {
    for (std::uint64_t i = 0; i < writes; ++i) run.put(run.journal.next_seq(), bytes);
    (void)disk.take_reads();
  }
  /// A remote that has nothing yet takes what there is.
  void begin(JournalFeed& feed) {
    ASSERT_TRUE(world.get(
        feed.begin(Welcome{"r", {Answer{{group, 0, 0}, history_begin(group), {}}}, volume_b})));
  }
  /// Reads all through `last`; what was found has to be what was written.
  void read_all(RunningJournal& run, JournalReader& reader, std::uint64_t last) {
    for (std::uint64_t seq = run.journal.first_seq(); seq <= last;) {
      const auto batch = world.get(reader.read(seq));
      ASSERT_TRUE(batch) << batch.error().text;
      ASSERT_EQ((*batch)->first_seq(), seq);
      for (const Record& record : (*batch)->records()) ASSERT_EQ(volume_seq_of(record), seq++);
    }
  }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
};

TEST_F(Reader, ReadsEachByteOnceHoweverSmallTheBatchesAre) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 800);
  const std::uint64_t used = run.journal.used_bytes();
  ASSERT_GT(used, 6 * MiB);
  JournalReader reader(run.journal);
  read_all(run, reader, 800);
  const auto reads = disk.take_reads();
  EXPECT_LT(reads.bytes, used * 11 / 10);
  EXPECT_LE(reads.count, used / MiB + 4);
  EXPECT_TRUE(run.stop_in_order());
}

TEST_F(Reader, ReadsABatchThatIsLargerThanItsWindow) {
  RunningJournal run(world, disk, {volume_a}, 0);
  for (int i = 0; i < 3; ++i) {
    // What arrives while a batch is written is one batch: of two MiB and more.
    disk.hold_writes(true);
    for (int n = 0; n < 12; ++n)
      run.journal.append(one_write(run.journal.next_seq(), 256 * 1024, run.journal.next_seq()));
    disk.hold_writes(false);
    world.settle();
  }
  const std::uint64_t used = run.journal.used_bytes();
  (void)disk.take_reads();
  JournalReader reader(run.journal);
  read_all(run, reader, 36);
  EXPECT_LT(disk.take_reads().bytes, used + 6 * MiB)
      << "at the most a window a batch is for nothing";
  EXPECT_TRUE(run.stop_in_order());
}

TEST_F(Reader, OfHeadsLeavesThePayloadWhereItIs) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 20, 256 * 1024);
  JournalReader reader(run.journal, JournalReader::Part::head);
  read_all(run, reader, 20);
  EXPECT_LT(disk.take_reads().bytes, 2 * MiB) << "of five";
  EXPECT_TRUE(run.stop_in_order());
}

TEST_F(Reader, GoesOnWhereTheCircleBeginsAnew) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 100, 120 * 1024);
  ASSERT_TRUE(run.checkpoint(90, 80));
  fill(run, 60, 120 * 1024);
  JournalReader reader(run.journal);
  read_all(run, reader, 160);
  EXPECT_TRUE(run.stop_in_order());
}

// A hub that gave up what its remote lacked: the session that follows begins anywhere.
TEST_F(Reader, FindsWhatIsThereNowWhereItHasReadBefore) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 10, 120 * 1024);
  JournalReader reader(run.journal);
  ASSERT_TRUE(world.get(reader.read(1)));
  // Once around the circle, to where the first read has looked ahead; the last batch is in memory.
  std::uint64_t seq = 0;
  do {
    ASSERT_TRUE(run.checkpoint(run.journal.stored_seq(), run.journal.stored_seq()));
    fill(run, 2, 100 * 1024);
    seq = run.journal.stored_seq() - 1;
  } while (run.journal.position_before(seq) < run.journal.size_bytes() + MiB / 2);
  const auto batch = world.get(reader.read(seq));
  ASSERT_TRUE(batch) << batch.error().text;
  EXPECT_EQ((*batch)->last_seq(), seq);
  EXPECT_TRUE(run.stop_in_order());
}

TEST_F(Reader, FollowsAWriterThatIsAheadByLittle) {
  RunningJournal run(world, disk, {volume_a}, 64 * 1024);
  JournalReader reader(run.journal);
  for (std::uint64_t seq = 1, read = 1; seq <= 300; ++seq) {
    run.put(seq);
    for (; seq % 7 == 0 && read <= seq; ++read) ASSERT_TRUE(world.get(reader.read(read)));
    if (seq % 50 == 0) {
      ASSERT_TRUE(world.get(reader.read(seq / 2))) << "anywhere else, and on from there";
    }
  }
  EXPECT_TRUE(run.stop_in_order());
}

TEST_F(Reader, IsToldOfDamage) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 3);
  const auto whole = disk.image();
  for (std::size_t i = 0; i < journal_block; ++i)
    disk.image()[run.journal.offset_of(0) + 8192 + i] = std::byte{0xff};
  JournalReader reader(run.journal);
  EXPECT_TRUE(world.get(reader.read(1)));
  const auto second = world.get(reader.read(2));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::corrupt);
  disk.image() = whole;
  EXPECT_TRUE(world.get(reader.read(2))) << "what was damaged is read again";
  run.journal.stop();
  world.settle();
}

TEST_F(Reader, LetsAFeedNameWhatItCannotGive) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 3);
  const auto whole = disk.image();
  GroupConfig config;
  config.uuid = group;
  JournalFeed feed(config, world.clock, run.journal);
  const auto next = [&] {
    begin(feed);
    for (;;)
      if (auto frame = world.get(feed.next()); !frame || !*frame) return frame;
  };
  for (std::size_t i = 0; i < journal_block; ++i)
    disk.image()[run.journal.offset_of(0) + 8192 + i] = std::byte{0xff};
  for (int session = 0; session < 2; ++session) {
    EXPECT_FALSE(next());
    ASSERT_TRUE(feed.failure());
    EXPECT_EQ(feed.failure()->code, Errc::corrupt);
  }
  begin(feed);
  EXPECT_TRUE(world.get(feed.next()));
  EXPECT_TRUE(feed.failure()) << "a session that begins before the damage has mended nothing";
  disk.image() = whole;
  EXPECT_FALSE(next()) << "of what had been read ahead";
  EXPECT_TRUE(next());
  EXPECT_FALSE(feed.failure());
  EXPECT_TRUE(run.stop_in_order());
}

// A feed's frame costs the remote an acknowledgement, and both a system call.
TEST_F(Reader, GivesAFeedFullFramesOfSmallBatches) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 310);
  GroupConfig config;
  config.uuid = group;
  JournalFeed feed(config, world.clock, run.journal);
  begin(feed);
  std::uint64_t seq = 1, frames = 0;
  for (;; ++frames) {
    const auto next = world.get(feed.next());
    ASSERT_TRUE(next) << next.error().text;
    if (!*next) break;
    for (const Piece& piece : (*next)->pieces) {
      std::size_t bytes = 0;
      for (const Record& record : piece.records) {
        ASSERT_EQ(group_seq_of(record), seq++);
        bytes += payload_bytes_of(record);
      }
      ASSERT_EQ(piece.payload.size(), bytes);
    }
  }
  EXPECT_EQ(seq, 311u);
  EXPECT_LE(frames, 12u);
  EXPECT_TRUE(run.stop_in_order());
}

/// What a feed gives from now on for so long, and how large its largest frame is.
struct Given {
  std::uint64_t bytes = 0, largest = 0;
};

class LimitedFeed : public Reader {
 protected:
  /// As a link does: what there is, then wait.
  Given run_for(JournalFeed& feed, Duration time) {
    Given given;
    constexpr auto step = std::chrono::milliseconds(5);
    Crew crew(world.executor);
    bool waiting = false;
    for (Duration gone{}; gone < time; gone += step) {
      while (!waiting) {
        const auto next = world.get(feed.next());
        EXPECT_TRUE(next) << next.error().text;
        if (!next || !*next) {
          crew.add(wait(feed, waiting));
          world.settle();
          if (waiting) break;
          continue;
        }
        std::uint64_t bytes = 0;
        for (const Piece& piece : (*next)->pieces)
          bytes += piece.records.size_bytes() + piece.payload.size();
        feed.sending(bytes / packs_to);
        given.bytes += bytes;
        given.largest = std::max(given.largest, bytes);
      }
      world.clock.advance(step);
      world.settle();
    }
    feed.wake();
    world.settle();
    return given;
  }
  std::uint64_t packs_to = 1;  // a frame becomes so many times smaller on its way

  static Task<> wait(JournalFeed& feed, bool& waiting) {
    waiting = true;
    co_await feed.wait();
    waiting = false;
  }
};

TEST_F(LimitedFeed, GivesWhatMayBeSentEvenly) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 1200);
  GroupConfig config;
  config.uuid = group;
  config.ship_rate.usual = 800'000;
  JournalFeed feed(config, world.clock, run.journal);
  begin(feed);
  const Given given = run_for(feed, std::chrono::seconds(4));
  EXPECT_NEAR(static_cast<double>(given.bytes), 4 * 800'000, 160'000);
  EXPECT_LE(given.largest, 120'000u) << "an eighth of a second, and records";
  // The limit is that of the link: what is compressed goes through faster.
  packs_to = 4;
  const Given packed = run_for(feed, std::chrono::milliseconds(250));
  EXPECT_NEAR(static_cast<double>(packed.bytes), 800'000, 250'000);
  // Nothing at all; then as much as there is.
  config.ship_rate.usual = 0;
  EXPECT_EQ(feed.rate(), Rate{0});
  EXPECT_EQ(run_for(feed, std::chrono::seconds(5)).bytes, 0u);
  config.ship_rate.usual.reset();
  EXPECT_GT(run_for(feed, std::chrono::seconds(2)).bytes, 500'000u);
  EXPECT_TRUE(run.stop_in_order());
}

// One write may be more than a second's worth; and no limit outlives its hour.
TEST_F(LimitedFeed, GivesOneWriteHoweverLittleMayBeSent) {
  RunningJournal run(world, disk, {volume_a}, 0);
  fill(run, 4, 256 * 1024);
  GroupConfig config;
  config.uuid = group;
  config.ship_rate.usual = 1024;
  JournalFeed feed(config, world.clock, run.journal);
  begin(feed);
  EXPECT_EQ(run_for(feed, std::chrono::seconds(60)).bytes, 256u * 1024 + sizeof(Record));
  config.ship_rate.usual.reset();
  EXPECT_EQ(run_for(feed, std::chrono::seconds(2)).bytes, 3 * (256u * 1024 + sizeof(Record)));
  EXPECT_TRUE(run.stop_in_order());
}

// 93 MiB of small batches took 2.3 s, each with two reads of its own.
TEST_F(Reader, OpeningReadsTheBacklogInLargePieces) {
  std::uint64_t used = 0;
  {
    RunningJournal run(world, disk, {volume_a}, 0);
    fill(run, 800);
    used = run.journal.used_bytes();
    run.kill();  // no index stands at its end
  }
  (void)disk.take_reads();
  RunningJournal again(world, disk);
  const auto reads = disk.take_reads();
  EXPECT_EQ(again.journal.stored_seq(), 800u);
  EXPECT_LE(reads.count, used / MiB + 16);
  EXPECT_TRUE(again.stop_in_order());
}

}  // namespace
}  // namespace cascade::test
