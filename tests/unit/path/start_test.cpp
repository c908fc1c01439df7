// SPDX-License-Identifier: GPL-2.0-or-later
//
// What opening a journal costs, counted in bytes read: that of its index, however much of it waits
// for a remote. And that it opens as it would by reading everything.
#include "daemon/path/backlog.hpp"
#include "daemon/path/journal_reader.hpp"
#include "tests/unit/path/journal_rig.hpp"
#include "tests/unit/seed.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <random>

namespace cascade::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t MiB = 1024 * 1024;
constexpr std::uint64_t disk_bytes = journal_data_offset + 64 * MiB;
constexpr std::size_t write_bytes = 124 * 1024;  // two batches an entry of the index
// Behind its end a journal is searched for what could only have been written later (I4), as far as
// two of the largest batches reach; and superblocks, tail and indexes are read.
constexpr std::uint64_t always_read = 10 * MiB;

/// What a journal says of itself once it is open, and what opening cost.
struct Opened {
  std::uint64_t first, stored, limit, used;
  History history;
  Backlog::Figures behind;
  std::uint64_t oldest_ns;  // when the first write that it holds was taken
  std::uint64_t bytes_read;
  bool operator==(const Opened& other) const {
    return first == other.first && stored == other.stored && limit == other.limit &&
           used == other.used && history == other.history && behind.bytes == other.behind.bytes &&
           behind.writes == other.behind.writes && oldest_ns == other.oldest_ns;
  }
};

class Start : public testing::Test {
 protected:
  void SetUp() override { format(disk); }

  void fill(RunningJournal& run, std::uint64_t writes) {
    for (std::uint64_t i = 0; i < writes; ++i) {
      run.put(run.journal.next_seq(), write_bytes);
      world.clock.advance(std::chrono::milliseconds(10));
    }
  }
  /// Opens what is on the disk, looks at it with `look`, and leaves the disk as it was: opening
  /// writes the superblocks, and nothing else.
  Opened open(const std::function<void(Journal&)>& look = [](Journal&) {}) {
    const auto kept = superblocks();
    (void)disk.take_reads();
    Journal journal(world.executor, disk, world.clock, group, {volume_a, volume_b}, 0);
    Backlog backlog;
    std::uint64_t oldest_ns = 0;
    auto opened = world.get(journal.open([&](const BatchInfo& batch) {
      backlog.add(batch, world.clock.boottime());
      if (oldest_ns == 0 && batch.records > 0) oldest_ns = batch.append_time_ns;
    }));
    const std::uint64_t bytes = disk.take_reads().bytes;
    EXPECT_TRUE(opened) << opened.error().text;
    if (!opened) return {};
    look(journal);
    put_back(kept);
    return {journal.first_seq(),
            journal.stored_seq(),
            journal.limit_seq(),
            journal.used_bytes(),
            journal.received_history(),
            backlog.figures(world.clock.boottime()),
            oldest_ns,
            bytes};
  }
  /// The same with a superblock that knows of no index.
  Opened open_from_tail() {
    const auto kept = superblocks();
    Superblock sb = superblock_on(disk);
    sb.index.reset();
    put_superblocks(disk, sb);
    const Opened opened = open();
    put_back(kept);
    return opened;
  }
  std::vector<std::byte> superblocks() const {
    return {disk.image().begin(), disk.image().begin() + 2 * superblock_bytes};
  }
  void put_back(const std::vector<std::byte>& kept) {
    std::copy(kept.begin(), kept.end(), disk.image().begin());
  }

  World world;
  MemoryDisk disk{world.executor, "journal", disk_bytes};
};

// The backlog is 40 MiB, then 3.
TEST_F(Start, AfterAnOrderlyEndReadsTheIndexAlone) {
  for (const std::uint64_t writes : {320, 20}) {
    format(disk);
    {
      RunningJournal run(world, disk);
      fill(run, writes);
      ASSERT_TRUE(run.stop_in_order());
    }
    const Opened quick = open();
    EXPECT_EQ(quick, open_from_tail());
    EXPECT_EQ(quick.stored, writes);
    EXPECT_EQ(quick.behind.bytes, writes * write_bytes);
    EXPECT_LE(quick.bytes_read, always_read);
  }
}

TEST_F(Start, AfterACrashReadsWhatStandsBehindTheIndex) {
  RunningJournal run(world, disk);
  fill(run, 320);
  ASSERT_TRUE(run.checkpoint(100, 1));
  fill(run, 10);
  run.kill();
  const Opened quick = open();
  EXPECT_EQ(quick, open_from_tail());
  EXPECT_EQ(quick.stored, 330u);
  EXPECT_EQ(quick.behind.bytes, 330 * write_bytes);
  EXPECT_LE(quick.bytes_read, always_read + 17 * MiB) << "an index is written for each 16 MiB";
}

// Every write is found, the tail moves in small steps, and what is full gets room again.
TEST_F(Start, WhatTheIndexKnowsCanBeReadAndGivenUp) {
  {
    RunningJournal run(world, disk);
    fill(run, 320);
    ASSERT_TRUE(run.stop_in_order());
  }
  RunningJournal again(world, disk, {volume_a, volume_b}, 0);
  ASSERT_TRUE(again.opened);
  for (std::uint64_t seq = 1; seq <= 320; seq += 13) {
    (void)disk.take_reads();
    JournalReader reader(again.journal);
    const auto batch = world.get(reader.read(seq));
    ASSERT_TRUE(batch) << batch.error().text;
    EXPECT_EQ((*batch)->first_seq(), seq);
    EXPECT_LE(disk.take_reads().bytes, 2 * MiB) << "write " << seq;
  }
  for (std::uint64_t keep = 5; keep <= 320; keep += 9) {
    ASSERT_TRUE(again.checkpoint(320, keep));
    EXPECT_LE(again.journal.first_seq(), keep);
    EXPECT_GE(again.journal.first_seq() + 3, keep);
  }
  EXPECT_TRUE(again.stop_in_order());
}

TEST_F(Start, AFullJournalGoesOnOnceSomethingIsGivenUp) {
  {
    RunningJournal run(world, disk);
    while (!run.journal.starved()) run.put(run.journal.next_seq(), write_bytes);
    run.kill();
  }
  RunningJournal again(world, disk);
  ASSERT_TRUE(again.opened);
  const std::uint64_t stored = again.journal.stored_seq();
  again.put(stored + 1, write_bytes);
  ASSERT_TRUE(again.journal.starved());
  ASSERT_TRUE(again.checkpoint(stored, 20));
  world.settle();
  EXPECT_EQ(again.journal.stored_seq(), stored + 1);
  EXPECT_TRUE(again.stop_in_order());
}

// Nothing but the walk from the tail finds damage in what was stable; whoever reads it does.
TEST_F(Start, DamageInWhatItDidNotReadIsFoundByWhoReadsIt) {
  {
    RunningJournal run(world, disk);
    fill(run, 320);
    ASSERT_TRUE(run.stop_in_order());
  }
  // In a batch's header, in its record, in its payload.
  for (const std::uint64_t at : {0, 150, 5000}) {
    std::byte& byte = disk.image()[journal_data_offset + 10 * MiB + at];
    byte ^= std::byte{1};
    open([&](Journal& journal) {
      JournalReader reader(journal);
      std::uint64_t seq = 1;
      Result<BatchPtr> batch = Error{Errc::not_found, ""};
      for (; seq <= 320; ++seq)
        if (batch = world.get(reader.read(seq)); !batch) break;
      ASSERT_FALSE(batch) << at;
      EXPECT_EQ(batch.error().code, Errc::corrupt);
      EXPECT_NEAR(static_cast<double>(seq), 10.0 * 8, 3);
    });
    byte ^= std::byte{1};
  }
}

TEST_F(Start, WithABrokenIndexReadsEverything) {
  {
    RunningJournal run(world, disk);
    fill(run, 320);
    ASSERT_TRUE(run.stop_in_order());
  }
  const Opened good = open();
  const std::uint64_t at = *superblock_on(disk).index;
  for (const std::size_t byte : {16u, 140u, 200u, 4000u}) {
    disk.image()[journal_data_offset + at + byte] ^= std::byte{1};
    if (byte >= sizeof(BatchHeader)) {
      const Opened slow = open();
      EXPECT_EQ(slow, good) << byte;
      EXPECT_GT(slow.bytes_read, 35 * MiB);
    } else {  // then the chain of batches is broken
      RunningJournal run(world, disk);
      EXPECT_THAT(run.opened.error().text, HasSubstr("damaged"));
    }
    disk.image()[journal_data_offset + at + byte] ^= std::byte{1};
  }
}

// P5: the older superblock may be all that is left; then its tail may be gone, though its index is
// not.
TEST_F(Start, WithAnotherTailThanItsSuperblockSaysIsRefused) {
  {
    RunningJournal run(world, disk);
    fill(run, 320);
    ASSERT_TRUE(run.checkpoint(100, 50));
    ASSERT_TRUE(run.stop_in_order());
  }
  disk.image()[journal_data_offset + superblock_on(disk).tail_position] ^= std::byte{1};
  const auto before = disk.image();
  RunningJournal again(world, disk);
  ASSERT_FALSE(again.opened);
  EXPECT_THAT(again.opened.error().text, HasSubstr("damaged"));
  EXPECT_EQ(disk.image(), before);
}

class StartOfSeed : public Start, public testing::WithParamInterface<int> {};

// I1, I4: writes, checkpoints, ends of both kinds in any order; it always opens as by reading all.
TEST_P(StartOfSeed, OpensAsByReadingEverything) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "StartOfSeed"));
  std::mt19937 lots(seed);
  std::uint64_t stored = 0;
  for (int life = 0; life < 14; ++life) {
    RunningJournal run(world, disk);
    ASSERT_TRUE(run.opened) << run.opened.error().text;
    ASSERT_EQ(run.journal.stored_seq(), stored);
    for (unsigned step = lots() % 8; step > 0; --step) {
      const std::uint64_t held = stored + 1 - run.journal.first_seq();
      if (held > 200 || lots() % 3 == 0) {
        ASSERT_TRUE(run.checkpoint(stored, run.journal.first_seq() + lots() % (held + 1)));
      }
      for (unsigned n = lots() % 90; n > 0; --n) {
        if (run.journal.used_bytes() + 2 * MiB > run.journal.size_bytes()) break;
        run.put(run.journal.next_seq(), 4096 * (1 + lots() % 60));
        world.clock.advance(std::chrono::milliseconds(10));
      }
      stored = run.journal.stored_seq();
    }
    if (lots() % 2 == 0)
      run.kill();
    else
      ASSERT_TRUE(run.stop_in_order());
    ASSERT_EQ(open(), open_from_tail()) << "life " << life;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, StartOfSeed, testing::Range(1, 4));

}  // namespace
}  // namespace cascade::test
