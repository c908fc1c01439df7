// SPDX-License-Identifier: GPL-2.0-or-later
//
// The writer of a journal: what "clean", "stored" and "free" mean after any end. I1, I3, I4, I8.
#include "daemon/path/journal_reader.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

class JournalWriter : public testing::Test {
 protected:
  void SetUp() override { format(disk); }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
};

TEST_F(JournalWriter, IsCleanWhenAllThatWasReceivedIsStored) {
  RunningJournal run(world, disk);
  for (std::uint64_t i = 1; i <= 3; ++i) run.put(i);
  EXPECT_FALSE(superblock_on(disk).clean);
  ASSERT_TRUE(run.stop_in_order());
  EXPECT_TRUE(superblock_on(disk).clean);
  RunningJournal again(world, disk);
  EXPECT_FALSE(again.journal.was_crashed());
  EXPECT_EQ(again.journal.stored_seq(), 3u);
  EXPECT_TRUE(again.stop_in_order());
}

// P4: acknowledged on receipt, dropped because there was no room: never "clean".
TEST_F(JournalWriter, StoppedWhileFullIsNotClean) {
  RunningJournal run(world, disk);
  std::uint64_t seq = 0;
  while (!run.journal.starved()) run.put(++seq, 256 * 1024);
  run.put(++seq);
  ASSERT_LT(run.journal.stored_seq(), run.journal.received_seq());
  const auto stored = run.journal.stored_seq();
  ASSERT_TRUE(run.stop_in_order());
  EXPECT_FALSE(superblock_on(disk).clean);

  RunningJournal again(world, disk);
  EXPECT_TRUE(again.journal.was_crashed());
  EXPECT_EQ(again.journal.stored_seq(), stored);
  EXPECT_TRUE(again.stop_in_order());
}

// I3: an open bracket outlives the daemon, whether its mark is still in the journal or not.
TEST_F(JournalWriter, KnowsOfAnOpenBracketOverRestarts) {
  for (const std::uint64_t keep : {1, 5}) {
    format(disk);
    {
      RunningJournal run(world, disk);
      run.put(1);
      run.put_mark(CASCADE_MARK_DETACHED);
      EXPECT_EQ(run.journal.limit_seq(), 1u);
      run.put_mark(CASCADE_MARK_DETACHED, volume_b);
      run.put_mark(CASCADE_MARK_ATTACHED);
      run.put(1, 4096, volume_b);
      EXPECT_EQ(run.journal.limit_seq(), 1u) << "one of them still waits";
      ASSERT_TRUE(run.checkpoint(1, keep));
      EXPECT_TRUE(run.stop_in_order());
    }
    RunningJournal again(world, disk);
    ASSERT_TRUE(again.opened);
    EXPECT_EQ(again.journal.limit_seq(), 1u);
    EXPECT_EQ(again.journal.whole_from(), 1u);
    EXPECT_EQ(again.journal.places().at(volume_b).standing.mark, CASCADE_MARK_DETACHED);
    EXPECT_EQ(again.journal.places().at(volume_b).standing.since_ns, 3u);
    again.put_mark(CASCADE_MARK_ATTACHED, volume_b);
    EXPECT_EQ(again.journal.limit_seq(), no_limit);
    EXPECT_EQ(again.journal.whole_from(), 6u) << "what was held becomes visible as one";
    EXPECT_TRUE(again.stop_in_order());
  }
}

// How volumes stood may be among what was jumped over; what still holds is said behind the jump.
TEST_F(JournalWriter, KnowsOfNoVolumeApartBehindAJump) {
  RunningJournal run(world, disk);
  run.put_mark(CASCADE_MARK_DETACHED, volume_b);
  EXPECT_EQ(run.journal.limit_seq(), 0u);
  run.journal.append_jump({90, 0x1234});
  world.settle();
  run.put_mark(CASCADE_MARK_DETACHED, volume_a);
  run.journal.append(one_caught_up(90, run.journal.next_seq()));
  world.settle();
  EXPECT_EQ(run.journal.limit_seq(), 0u) << "volume a was said to be apart since";
  run.put_mark(CASCADE_MARK_ATTACHED, volume_a);
  EXPECT_EQ(run.journal.limit_seq(), no_limit) << "nobody knows of volume b any more";
}

// I3: what was jumped over holds the copies where they are, until a mark that knows of the jump;
// the same after a restart at any moment, from any tail.
TEST_F(JournalWriter, GoesOnBehindAJumpAndHoldsTheCopiesUntilItIsMadeUpFor) {
  struct Step {
    std::uint64_t received, limit, gap;
  };
  const std::vector<Step> steps{{2, no_limit, 0}, {90, 2, 90},   {91, 2, 90},   {92, 2, 90},
                                {200, 2, 200},    {201, 2, 200}, {202, 2, 200}, {203, no_limit, 0}};
  const auto take = [](RunningJournal& run, World& world, std::size_t step) {
    Journal& journal = run.journal;
    switch (step) {
      case 0:
        run.put(1);
        run.put(2);
        break;
      case 1:
        journal.append_jump({90, 0x1234});
        break;
      case 4:
        journal.append_jump({200, 0x5678});
        break;
      case 2:  // knows of less than was jumped over
        journal.append(one_caught_up(89, journal.next_seq()));
        break;
      case 6:  // was made before the second jump
        journal.append(one_caught_up(90, journal.next_seq()));
        break;
      case 7:
        journal.append(one_caught_up(200, journal.next_seq()));
        break;
      default:
        run.put(journal.next_seq());
    }
    world.settle();
  };
  for (std::size_t end = 1; end <= steps.size(); ++end)
    for (const bool saved : {false, true}) {
      SCOPED_TRACE(testing::Message() << "ends after " << end << ", superblock " << saved);
      format(disk);
      History history = 0;
      {
        RunningJournal run(world, disk);
        for (std::size_t step = 0; step < end; ++step) {
          take(run, world, step);
          EXPECT_EQ(run.journal.stored_seq(), steps[step].received);
          EXPECT_EQ(run.journal.limit_seq(), steps[step].limit) << step;
          EXPECT_EQ(run.journal.has_gap(), steps[step].gap != 0) << step;
        }
        history = run.journal.received_history();
        if (saved) {
          ASSERT_TRUE(run.checkpoint(2, 1));
        }
        run.journal.stop();
        world.settle();
      }
      const Step& last = steps[end - 1];
      RunningJournal again(world, disk);
      ASSERT_TRUE(again.opened) << again.opened.error().text;
      EXPECT_EQ(again.journal.stored_seq(), last.received);
      EXPECT_EQ(again.journal.limit_seq(), last.limit);
      EXPECT_EQ(again.journal.places().gap().last, last.gap);
      EXPECT_EQ(again.journal.received_history(), history);
      if (last.received > 91) {
        JournalReader reader(again.journal);
        const auto batch = world.get(reader.read(3));
        ASSERT_TRUE(batch) << batch.error().text;
        EXPECT_EQ((*batch)->first_seq(), 91u) << "a reader finds what comes behind the jump";
      }
      again.journal.stop();
      world.settle();
    }
}

// I3: one bracket, two reasons; it closes with the last of them, in either order.
TEST_F(JournalWriter, AGapAndADetachedVolumeEachKeepTheBracketOpen) {
  RunningJournal run(world, disk);
  run.put(1);
  const auto caught_up = [&] {
    run.journal.append(one_caught_up(90, run.journal.next_seq()));
    world.settle();
  };
  run.journal.append_jump({90, 0x1234});
  world.settle();
  run.put_mark(CASCADE_MARK_DETACHED);
  run.put_mark(CASCADE_MARK_ATTACHED);
  EXPECT_EQ(run.journal.limit_seq(), 1u) << "copies have still to come";
  run.put_mark(CASCADE_MARK_DETACHED);
  caught_up();
  EXPECT_EQ(run.journal.limit_seq(), 1u) << "the volume has still to come";
  run.put_mark(CASCADE_MARK_ATTACHED);
  EXPECT_EQ(run.journal.limit_seq(), no_limit);
  EXPECT_EQ(run.journal.whole_from(), run.journal.stored_seq());
  EXPECT_TRUE(run.stop_in_order());
}

// P5: either copy of the superblock may be lost, at any time, without a stored write being lost.
TEST_F(JournalWriter, LosesNothingWithEitherCopyOfItsSuperblock) {
  for (const std::uint64_t lost : {0, 1})
    for (const bool checkpointed : {false, true}) {
      format(disk);
      RunningJournal run(world, disk);
      for (std::uint64_t i = 1; i <= 50; ++i) run.put(i);
      if (checkpointed) {
        ASSERT_TRUE(run.checkpoint(20, 10));
      }
      run.kill();
      disk.image()[superblock_offset(lost) + 77] ^= std::byte{1};
      RunningJournal again(world, disk);
      ASSERT_TRUE(again.opened) << again.opened.error().text;
      EXPECT_EQ(again.journal.stored_seq(), 50u) << "copy " << lost;
      EXPECT_TRUE(again.stop_in_order());
    }
}

TEST_F(JournalWriter, PutBackToAnEarlierSuperblockSaysSoAndChangesNothing) {
  const auto both =
      std::vector<std::byte>(disk.image().begin(), disk.image().begin() + 2 * superblock_bytes);
  {
    RunningJournal run(world, disk);
    for (std::uint64_t i = 1; i <= 5; ++i) run.put(i);
    ASSERT_TRUE(run.stop_in_order());
  }
  std::copy(both.begin(), both.end(), disk.image().begin());
  const auto before = disk.image();
  RunningJournal again(world, disk);
  ASSERT_FALSE(again.opened);
  EXPECT_EQ(again.opened.error().code, Errc::corrupt);
  EXPECT_THAT(again.opened.error().text, HasSubstr("which its superblock does not know"));
  EXPECT_EQ(disk.image(), before);
}

// P14: volumes come and go; the superblock keeps to those that matter.
TEST_F(JournalWriter, ForgetsVolumesThatAreNeitherConfiguredNorInTheJournal) {
  const Uuid gone = make_uuid();
  {
    RunningJournal run(world, disk, {volume_a, gone});
    run.put(7, 4096, gone);
    run.put(1);
    ASSERT_TRUE(run.stop_in_order());
  }
  RunningJournal run(world, disk);
  EXPECT_EQ(run.journal.stored_volume_seq(gone), 7u) << "it has a write in the journal";
  run.put(2);
  ASSERT_TRUE(run.checkpoint(3, 1));
  EXPECT_EQ(run.journal.stored_volume_seq(gone), 7u);
  for (std::uint64_t i = 3; i < 6; ++i) run.put(i, 256 * 1024);
  ASSERT_TRUE(run.checkpoint(6, 6));
  ASSERT_GT(run.journal.first_seq(), 1u);
  EXPECT_EQ(run.journal.stored_volume_seq(gone), 0u);
  EXPECT_EQ(superblock_on(disk).volumes.size(), 1u);
  EXPECT_TRUE(run.stop_in_order());
}

TEST_F(JournalWriter, WithMoreVolumesThanItsSuperblockHoldsFailsInOneLine) {
  std::set<Uuid> volumes;
  while (volumes.size() <= superblock_volumes_max) volumes.insert(make_uuid());
  MemoryDisk roomy(world.executor, "journal", 2 * journal_disk_bytes);
  format(roomy);
  RunningJournal run(world, roomy, volumes);
  for (const Uuid& volume : volumes) run.put(1, 512, volume);
  const auto done = run.checkpoint(1, 1);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text, HasSubstr("which has room for 2048"));
}

TEST_F(JournalWriter, KnowsItsHistoryAtEveryWriteThatItHolds) {
  RunningJournal run(world, disk, {volume_a}, 0);
  std::vector<History> after{history_begin(group)};
  const auto expect_all = [&](Journal& journal, std::uint64_t from) {
    for (std::uint64_t seq = from; seq < after.size(); ++seq) {
      const auto history = world.get(journal.history_at(seq));
      ASSERT_TRUE(history) << history.error().text;
      EXPECT_EQ(*history, after[seq]) << "through write " << seq;
    }
  };
  for (std::uint64_t i = 1; i <= 12; ++i) {
    run.put(i, 128 * 1024);
    after.push_back(run.journal.received_history());
  }
  expect_all(run.journal, 0);
  ASSERT_TRUE(run.checkpoint(9, 8));
  ASSERT_GT(run.journal.first_seq(), 1u);
  expect_all(run.journal, run.journal.first_seq() - 1);
  ASSERT_TRUE(run.stop_in_order());
  RunningJournal again(world, disk);
  ASSERT_TRUE(again.opened);
  EXPECT_EQ(again.journal.received_history(), after.back());
  expect_all(again.journal, again.journal.first_seq() - 1);
  EXPECT_TRUE(again.stop_in_order());
}

TEST_F(JournalWriter, StoresNothingAfterTheFirstErrorOfItsDisk) {
  RunningJournal run(world, disk);
  run.put(1);
  disk.fail_after(0);
  run.put(2);
  ASSERT_TRUE(run.journal.failure());
  disk.fail_after(MemoryDisk::never);
  run.put(3);
  EXPECT_EQ(run.journal.stored_seq(), 1u);
  EXPECT_FALSE(run.stop_in_order());
  EXPECT_FALSE(superblock_on(disk).clean);
}

TEST_F(JournalWriter, KeepsWhatWasStoredOverAPowerCut) {
  for (std::uint64_t held = 0; held < 2; ++held) {
    format(disk);
    RunningJournal run(world, disk);
    for (std::uint64_t i = 1; i <= 9; ++i) run.put(i);
    disk.hold_writes(held == 1);
    run.put(10);
    const auto stored = run.journal.stored_seq();
    EXPECT_EQ(stored, held == 1 ? 9u : 10u);
    disk.cut_power();
    auto image = disk.image();
    disk.hold_writes(false);
    run.journal.stop();
    world.settle();
    disk.image() = std::move(image);
    RunningJournal again(world, disk);
    EXPECT_EQ(again.journal.stored_seq(), stored);
    EXPECT_TRUE(again.stop_in_order());
  }
}

}  // namespace
}  // namespace cascade::test
