// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the journal to the copies: in order, each byte once, and what a copy that fails leaves. I2,
// I3, I4.
#include "daemon/path/applier.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

constexpr std::uint64_t copy_bytes = 64 * 1024;

class ApplierTest : public testing::Test {
 protected:
  void SetUp() override {
    format(disk);
    begin();
  }
  void TearDown() override { world.io.abandon(); }

  /// A journal that is open, and copies that hold what they held.
  void begin() {
    run.emplace(world, disk);
    Applier::Copies copies;
    for (const Uuid& volume : {volume_a, volume_b}) {
      auto copy = std::make_unique<MemoryDisk>(world.executor, "copy", copy_bytes);
      if (volume == volume_a && !restarted.empty()) copy->image() = restarted;
      copies_[volume] = copy.get();
      copies[volume] = std::move(copy);
    }
    applier.emplace(world.executor, world.clock, run->journal, std::move(copies), "shop",
                    [this] { return needed_from; });
    if (undo) {
      ASSERT_TRUE(world.get(applier->use_undo(*undo)));
    }
    applier->note_in(verification);
    applier->delay(delay);
    if (end_at_ns) applier->end_at(false, *end_at_ns);
    run->crew.add(applier->run());
    world.settle();
  }
  void put(const Record& record, std::span<const std::byte> payload) {
    Record numbered = record;
    set_group_seq(numbered, run->journal.next_seq());
    run->journal.append(make_incoming(std::span(&numbered, 1), payload));
  }
  void write(std::uint64_t sector, std::size_t bytes, unsigned seed,
             const Uuid& volume = volume_a) {
    const auto data = pattern(bytes, seed);
    put(make_record(++seq, data, sector, volume), data);
  }
  bool holds(std::uint64_t sector, std::size_t bytes, unsigned seed,
             const Uuid& volume = volume_a) {
    const auto data = pattern(bytes, seed);
    return std::equal(data.begin(), data.end(),
                      copies_[volume]->image().begin() + static_cast<std::ptrdiff_t>(sector * 512));
  }
  /// As if the primary's volume held `content` there now.
  void verify(std::uint64_t sector, std::span<const std::byte> content) {
    Record record = make_record(++seq, {}, sector, volume_a, CASCADE_OP_VERIFY,
                                static_cast<std::uint32_t>(content.size()));
    record.payload_crc = htole32(crc32c(content));
    put(record, {});
  }
  void pass_a_second() {
    world.clock.advance(seconds(1));
    world.settle();
  }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
  std::uint64_t needed_from = MemoryDisk::never;
  std::uint64_t seq = 0;
  std::vector<std::byte> restarted;  // what the copy of volume a holds at begin()
  std::map<Uuid, MemoryDisk*> copies_;
  std::optional<MemoryDisk> undo;
  Duration delay{};
  std::optional<std::uint64_t> end_at_ns;
  std::optional<RunningJournal> run;
  std::optional<Applier> applier;
  Verification verification{"h"};
};

TEST_F(ApplierTest, WritesWhatIsStoredToTheRightCopy) {
  write(8, 4096, 1);
  write(8, 4096, 2, volume_b);
  world.settle();
  EXPECT_EQ(applier->applied_seq(), 2u);
  EXPECT_TRUE(holds(8, 4096, 1) && holds(8, 4096, 2, volume_b));
}

TEST_F(ApplierTest, TheLastOfOverlappingWritesRemains) {
  for (unsigned i = 1; i <= 9; ++i) write(i, 2048, i);
  world.settle();
  for (unsigned i = 1; i <= 8; ++i) EXPECT_TRUE(holds(i, 512, i)) << i;
  EXPECT_TRUE(holds(9, 2048, 9));
}

// A write of a MiB comes as four records, a writer in order as many more.
TEST_F(ApplierTest, NeighboursAreOneWriteOfTheDisk) {
  for (unsigned i = 0; i < 8; ++i) write(8 * i, 4096, i);
  write(0, 4096, 1, volume_b);
  write(64, 4096, 8);
  world.settle();
  for (unsigned i = 0; i <= 8; ++i) EXPECT_TRUE(holds(8 * i, 4096, i)) << i;
  const auto written = copies_[volume_a]->take_writes();
  EXPECT_EQ(written.count, 2u) << "another volume's write lies between";
  EXPECT_EQ(written.bytes, 9 * 4096u);
}

TEST_F(ApplierTest, CopiesAreWrittenTogether) {
  copies_[volume_a]->hold_writes(true);
  write(0, 4096, 1);
  write(0, 4096, 2, volume_b);
  world.settle();
  EXPECT_TRUE(holds(0, 4096, 2, volume_b)) << "one that is slow holds no other one up";
  EXPECT_EQ(applier->applied_seq(), 0u);
  copies_[volume_a]->hold_writes(false);
  world.settle();
  EXPECT_EQ(applier->applied_seq(), 2u);
}

TEST_F(ApplierTest, ZeroingAndDiscardLeaveZeroesAndANoopNothing) {
  write(0, 8192, 1);
  put(make_record(++seq, {}, 0, volume_a, CASCADE_OP_DISCARD, 2048), {});
  put(make_record(++seq, {}, 8, volume_a, CASCADE_OP_WRITE_ZEROES, 2048), {});
  put(make_record(++seq, {}, 0, volume_a, CASCADE_OP_NOOP), {});
  world.settle();
  EXPECT_EQ(applier->applied_seq(), 4u);
  auto expected = pattern(8192, 1);
  for (const std::size_t at : {0, 4096})
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at), 2048, std::byte{0});
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), copies_[volume_a]->image().begin()));
}

TEST_F(ApplierTest, PassesMarksOfVolumesAndOfTheGroup) {
  write(0, 4096, 1);
  run->put_mark(CASCADE_MARK_LEFT);
  run->journal.append(one_caught_up(1, run->journal.next_seq()));
  write(8, 4096, 2);
  world.settle();
  EXPECT_EQ(applier->applied_seq(), 4u);
  EXPECT_TRUE(holds(0, 4096, 1) && holds(8, 4096, 2));
  EXPECT_FALSE(run->journal.dropped(group)) << "it is no volume";
}

TEST_F(ApplierTest, StandsWhileACopyFails) {
  write(0, 4096, 1);
  world.settle();
  copies_[volume_a]->fail_after(0);
  copies_[volume_a]->fail_after_reopening(0);
  write(8, 4096, 2);
  write(8, 4096, 3, volume_b);
  world.settle();
  ASSERT_TRUE(applier->failure());
  EXPECT_THAT(applier->failure()->text, HasSubstr("copy: write"));
  EXPECT_EQ(applier->applied_seq(), 1u);
  write(0, 4096, 4, volume_b);
  pass_a_second();
  EXPECT_FALSE(holds(0, 4096, 4, volume_b)) << "nothing goes on without the failed write";
  EXPECT_EQ(run->journal.checkpoint_seq(), 0u) << "and nothing is called flushed";
}

// W5: one EIO was final until a restart.
TEST_F(ApplierTest, GoesOnFromTheCheckpointOnceACopyIsThereAgain) {
  write(0, 4096, 1);
  world.settle();
  pass_a_second();
  ASSERT_EQ(run->journal.checkpoint_seq(), 1u);
  write(8, 4096, 2);  // applied, and lost with the device
  world.settle();
  copies_[volume_a]->fail_after(0);
  copies_[volume_a]->fail_after_reopening(0);
  write(16, 4096, 3);
  world.settle();
  ASSERT_TRUE(applier->failure());
  for (int i = 0; i < 60; ++i) pass_a_second();
  EXPECT_THAT(copies_[volume_a]->times_reopened(), testing::AllOf(testing::Ge(4u), testing::Le(9u)))
      << "with pauses that grow to 15 s";
  copies_[volume_a]->fail_after_reopening(MemoryDisk::never);
  for (int i = 0; i < 16; ++i) pass_a_second();
  EXPECT_FALSE(applier->failure());
  EXPECT_TRUE(holds(0, 4096, 1) && holds(8, 4096, 2) && holds(16, 4096, 3));
  EXPECT_EQ(run->journal.checkpoint_seq(), 3u);
}

TEST_F(ApplierTest, LeavesItsCopiesAloneWhileTheyAreHeldAndLosesNothing) {
  write(0, 512, 1);
  world.settle();
  applier->hold(false, seconds(30));
  world.settle();
  ASSERT_TRUE(applier->held());
  EXPECT_TRUE(copies_[volume_a]->is_aside() && copies_[volume_b]->is_aside());
  write(1, 512, 2);
  pass_a_second();
  EXPECT_EQ(applier->applied_seq(), 1u);
  EXPECT_FALSE(applier->failure());
  applier->go_on();
  world.settle();
  EXPECT_FALSE(copies_[volume_a]->is_aside() || copies_[volume_b]->is_aside());
  EXPECT_TRUE(holds(0, 512, 1) && holds(1, 512, 2));
  EXPECT_EQ(applier->applied_seq(), 2u);
  EXPECT_EQ(applier->rewinds(), 0u);
}

TEST_F(ApplierTest, GoesOnByItselfIfNobodyComesBackForHeldCopies) {
  applier->hold(false, seconds(30));
  write(0, 512, 1);
  world.settle();
  EXPECT_TRUE(applier->held());
  for (int i = 0; i < 31; ++i) pass_a_second();
  EXPECT_FALSE(applier->holding());
  EXPECT_TRUE(holds(0, 512, 1));
}

TEST_F(ApplierTest, HoldsFailedCopiesOnlyIfTheyNeedNotBeWhole) {
  copies_[volume_a]->fail_after_reopening(0);
  copies_[volume_a]->fail_after(0);
  write(0, 512, 1);
  world.settle();
  ASSERT_TRUE(applier->failure());
  applier->hold(false, seconds(30));
  pass_a_second();
  EXPECT_FALSE(applier->held()) << "a part of the write may be there";
  applier->hold(true, seconds(30));
  world.settle();
  EXPECT_TRUE(applier->held());
  copies_[volume_a]->fail_after_reopening(MemoryDisk::never);
  applier->go_on();
  for (int i = 0; i < 16; ++i) pass_a_second();
  EXPECT_TRUE(holds(0, 512, 1));
  EXPECT_FALSE(applier->failure());
  EXPECT_TRUE(applier->whole());
}

TEST_F(ApplierTest, LeavesACopyAloneThatIsAnotherOneNow) {
  Result<void> same;
  applier->check_with([&](const Uuid&, const Disk&) { return same; });
  same = Error{Errc::refused, "another device"};
  copies_[volume_a]->fail_after(0);
  write(0, 4096, 1);
  world.settle();
  for (int i = 0; i < 30; ++i) pass_a_second();
  EXPECT_EQ(applier->failure()->text, "another device");
  EXPECT_EQ(applier->applied_seq(), 0u);
  same = {};
  for (int i = 0; i < 16; ++i) pass_a_second();
  EXPECT_EQ(applier->applied_seq(), 1u);
}

/// A flush that is under way while a copy fails says nothing of what was applied before.
TEST_F(ApplierTest, CallsNothingFlushedThatAFailedCopyMayHaveLost) {
  write(0, 4096, 1);
  world.settle();
  copies_[volume_a]->hold_flushes(true);
  pass_a_second();  // the checkpoint waits for it
  copies_[volume_a]->fail_after(0);
  write(8, 4096, 2);
  world.settle();
  pass_a_second();  // opened anew, and what it held is lost
  copies_[volume_a]->hold_flushes(false);
  copies_[volume_a]->hold_writes(true);
  world.settle();
  EXPECT_EQ(run->journal.checkpoint_seq(), 0u);
  copies_[volume_a]->hold_writes(false);
  world.settle();
  EXPECT_TRUE(holds(0, 4096, 1) && holds(8, 4096, 2));
}

TEST_F(ApplierTest, RefusesAWriteThatDoesNotFit) {
  write(copy_bytes / 512 - 1, 4096, 1);
  world.settle();
  ASSERT_TRUE(applier->failure());
  EXPECT_EQ(applier->applied_seq(), 0u);
}

TEST_F(ApplierTest, AppliesAgainAfterACrashWhatWasNotFlushed) {
  write(0, 4096, 1);
  world.settle();
  pass_a_second();
  EXPECT_EQ(run->journal.checkpoint_seq(), 1u);
  write(8, 4096, 2);
  world.settle();
  copies_[volume_a]->cut_power();
  EXPECT_TRUE(holds(0, 4096, 1)) << "flushed before it was called so";
  EXPECT_FALSE(holds(8, 4096, 2));

  const auto copy = copies_[volume_a]->image();
  World after;
  MemoryDisk same(after.executor, "journal", disk.image());
  RunningJournal again(after, same);
  Applier::Copies copies;
  auto kept = std::make_unique<MemoryDisk>(after.executor, "copy", copy);
  MemoryDisk& result = *kept;
  copies[volume_a] = std::move(kept);
  Applier second(after.executor, after.clock, again.journal, std::move(copies), "shop",
                 [] { return MemoryDisk::never; });
  again.crew.add(second.run());
  after.settle();
  const auto data = pattern(4096, 2);
  EXPECT_TRUE(std::equal(data.begin(), data.end(), result.image().begin() + 8 * 512));
  after.io.abandon();
}

// A volume taken out of the file comes back one day: its copy is not what it was thought to be.
TEST_F(ApplierTest, RemembersThatItLeftWritesOut) {
  const Uuid gone = make_uuid();
  const auto data = pattern(512, 1);
  put(make_record(1, data, 0, gone), data);
  write(0, 512, 2);
  world.settle();
  pass_a_second();
  EXPECT_EQ(run->journal.checkpoint_seq(), 2u);
  World after;
  MemoryDisk same(after.executor, "journal", disk.image());
  RunningJournal again(after, same);
  EXPECT_TRUE(again.journal.dropped(gone));
  EXPECT_FALSE(again.journal.dropped(volume_a));
  after.io.abandon();
}

TEST_F(ApplierTest, KeepsWhatTheShipperStillNeeds) {
  needed_from = 20;
  for (unsigned i = 1; i <= 60; ++i) {
    write(0, copy_bytes, i);
    world.settle();
  }
  pass_a_second();
  // Space is given up in larger steps.
  EXPECT_GT(run->journal.first_seq(), 1u);
  EXPECT_LE(run->journal.first_seq(), 20u);
  needed_from = MemoryDisk::never;
  pass_a_second();
  EXPECT_GT(run->journal.first_seq(), 20u);
}

// I3
TEST_F(ApplierTest, StandsStillWhileABracketIsOpen) {
  write(0, 512, 1);
  run->put_mark(CASCADE_MARK_DETACHED, volume_b);
  write(1, 512, 2);
  world.settle();
  EXPECT_EQ(applier->applied_seq(), 1u);
  EXPECT_TRUE(applier->whole());
  EXPECT_FALSE(holds(1, 512, 2));
  run->put_mark(CASCADE_MARK_ATTACHED, volume_b);
  EXPECT_TRUE(holds(1, 512, 2));
  EXPECT_TRUE(applier->whole());
}

TEST_F(ApplierTest, IsNotWholeOnTheWayThroughWhatABracketHeld) {
  run->put_mark(CASCADE_MARK_DETACHED, volume_b);
  for (unsigned i = 1; i <= 20; ++i) write(i, 512, i);
  world.settle();
  copies_[volume_a]->hold_writes(true);
  run->put_mark(CASCADE_MARK_ATTACHED, volume_b);
  EXPECT_FALSE(applier->whole());
  copies_[volume_a]->hold_writes(false);
  world.settle();
  EXPECT_TRUE(applier->whole());
}

/// An open bracket, and a journal of which more and more waits for it. I3, I8.
class ApplierPast : public ApplierTest {
 protected:
  void SetUp() override {
    ApplierTest::SetUp();
    write(0, 4096, 1);
    world.settle();
    run->put_mark(CASCADE_MARK_DETACHED);
  }
  /// So much, to one place, that three quarters of the journal wait.
  void press(const Uuid& volume = volume_a) {
    for (unsigned i = 0; i < 260; ++i) write(8, copy_bytes - 4096, 2, volume);
    world.settle();
    pass_a_second();
  }
  void give_undo(std::uint64_t bytes) {
    undo.emplace(world.executor, "undo", bytes);
    ASSERT_TRUE(world.get(applier->use_undo(*undo)));
  }
  /// One with room for what the first volume loses, and not for the second's.
  void fill_undo() {
    give_undo(undo_entry_bytes(0) + undo_entry_bytes(copy_bytes));
    press(volume_b);
    write(8, 4096, 3);
    press(volume_a);
  }
  void close() {
    run->put_mark(CASCADE_MARK_ATTACHED);
    world.settle();
  }
  bool undo_brings_back() {
    Undo log(*undo);
    const UndoLog of{run->journal.id(), run->journal.limit_seq()};
    Undo::Copies images;
    for (const auto& [uuid, copy] : copies_)
      images[uuid] = std::make_unique<MemoryDisk>(world.executor, "copy", copy->image());
    if (!world.get(log.open(of)) || !log.holds(of) || !world.get(log.restore(images))) return false;
    const auto& image = static_cast<MemoryDisk&>(*images[volume_a]).image();
    const auto was = pattern(4096, 1);
    return std::equal(was.begin(), was.end(), image.begin()) &&
           std::all_of(image.begin() + 4096, image.end(), [](std::byte b) { return !int(b); });
  }
  /// As a crash does: with what was stored, and what the copy of volume a holds.
  void restart(const std::vector<std::byte>& copy_a) {
    applier->stop();
    run->journal.stop();
    world.settle();
    restarted = copy_a;
    begin();
  }
};

TEST_F(ApplierPast, StaysAtTheLimitWithoutUndoUntilItIsTold) {
  press();
  EXPECT_EQ(applier->applied_seq(), 1u);
  EXPECT_TRUE(applier->whole());
  ASSERT_TRUE(applier->give_up_limit());
  world.settle();
  EXPECT_EQ(applier->applied_seq(), run->journal.stored_seq());
  EXPECT_EQ(applier->past(), Applier::Past::gone);
  EXPECT_FALSE(applier->whole());
  EXPECT_EQ(superblock_on(disk).past_limit, 1u) << "remembered over a restart";
  close();
  EXPECT_TRUE(applier->whole());
  EXPECT_EQ(applier->past(), Applier::Past::no);
}

TEST_F(ApplierPast, IsToldOnlyWhileABracketIsOpen) {
  close();
  const auto told = applier->give_up_limit();
  ASSERT_FALSE(told);
  EXPECT_THAT(told.error().text, HasSubstr("no bracket is open"));
}

TEST_F(ApplierPast, GoesPastItWithUndoWhenTheJournalIsPressed) {
  give_undo(1 << 20);
  write(8, 4096, 3);
  world.settle();
  EXPECT_EQ(applier->applied_seq(), 1u) << "there is room enough";
  press();
  EXPECT_GT(applier->applied_seq(), 2u);
  EXPECT_EQ(applier->past(), Applier::Past::undo);
  EXPECT_FALSE(applier->whole());
  EXPECT_TRUE(undo_brings_back());
  close();
  EXPECT_TRUE(applier->whole());
  EXPECT_TRUE(holds(8, copy_bytes - 4096, 2));
}

TEST_F(ApplierPast, KeepsWhatIsZeroedToo) {
  give_undo(1 << 20);
  Record zeroes = make_record(++seq, {}, 0);
  zeroes.op = CASCADE_OP_WRITE_ZEROES;
  zeroes.length = htole32(4096);
  put(zeroes, {});
  press();
  EXPECT_GT(applier->applied_seq(), 3u);
  EXPECT_TRUE(undo_brings_back());
}

TEST_F(ApplierPast, StandsStillWhenTheUndoDeviceIsFull) {
  fill_undo();
  EXPECT_TRUE(applier->undo_full());
  EXPECT_TRUE(run->journal.starved() || run->journal.stored_seq() == run->journal.received_seq());
  EXPECT_TRUE(undo_brings_back());
  ASSERT_TRUE(applier->give_up_limit());
  world.settle();
  EXPECT_EQ(applier->past(), Applier::Past::gone);
  pass_a_second();
  EXPECT_EQ(applier->applied_seq(), run->journal.stored_seq());
}

TEST_F(ApplierPast, GoesOnWhenAFullUndoDeviceHasGrown) {
  fill_undo();
  ASSERT_TRUE(applier->undo_full());
  const auto before = applier->applied_seq();
  undo->grow(4 << 20);
  pass_a_second();
  pass_a_second();
  EXPECT_FALSE(applier->undo_full());
  EXPECT_GT(applier->applied_seq(), before);
  ASSERT_TRUE(undo->reopen());  // with its new size
  EXPECT_TRUE(undo_brings_back());
}

TEST_F(ApplierPast, GoesOnFromWhereItWasAfterARestart) {
  give_undo(1 << 20);
  press();
  ASSERT_EQ(applier->past(), Applier::Past::undo);
  restart(std::vector(copies_[volume_a]->image()));
  EXPECT_EQ(applier->past(), Applier::Past::undo);
  EXPECT_FALSE(applier->whole());
  EXPECT_TRUE(undo_brings_back());
  undo.reset();
  restart(std::vector(copies_[volume_a]->image()));
  EXPECT_EQ(applier->past(), Applier::Past::gone) << "without its device";
  EXPECT_FALSE(applier->whole());
}

// What is kept has to be all that stands before the limit: after a crash that comes once more.
TEST_F(ApplierPast, KeepsNothingBeforeItIsAtTheLimitAgain) {
  give_undo(1 << 20);
  undo->fail_after(1);  // it has begun, and kept nothing
  press();
  ASSERT_TRUE(applier->failure());
  ASSERT_EQ(superblock_on(disk).applied_seq, 0u);
  undo->fail_after(MemoryDisk::never);
  restart(std::vector<std::byte>(copy_bytes));  // and its write had not reached the disk
  EXPECT_EQ(applier->past(), Applier::Past::undo);
  EXPECT_GT(applier->applied_seq(), 2u);
  EXPECT_TRUE(undo_brings_back());
}

// ---- comparing with the primary

TEST_F(ApplierTest, ComparesWhatItHoldsAtThatPlaceInTheOrder) {
  verify(0, std::vector<std::byte>(4096));
  write(0, 3 * 4096, 1);
  verify(8, std::span<const std::byte>(pattern(3 * 4096, 1)).subspan(4096, 4096));
  write(0, 3 * 4096, 2);
  verify(16, std::span<const std::byte>(pattern(3 * 4096, 2)).subspan(2 * 4096, 4096));
  write(0, 3 * 4096, 3);
  world.settle();
  const Verified& found = *verification.own(volume_a);
  EXPECT_EQ(found.compared, 3 * 4096u);
  EXPECT_EQ(found.differing, 0u);
  EXPECT_EQ(found.through, 5u);
  EXPECT_EQ(applier->applied_seq(), 6u);
}

TEST_F(ApplierTest, SaysWhichRangesDiffer) {
  write(0, 16 * 1024, 1);
  world.settle();
  copies_[volume_a]->image()[4096] ^= std::byte{1};
  copies_[volume_a]->image()[8192] ^= std::byte{1};
  const auto data = pattern(16 * 1024, 1);
  for (std::uint64_t at = 0; at < 16 * 1024; at += 4096)
    verify(at / 512, std::span(data).subspan(at, 4096));
  world.settle();
  const Verified& found = *verification.own(volume_a);
  EXPECT_EQ(found.compared, 16 * 1024u);
  EXPECT_EQ(found.differing, 8192u);
  EXPECT_THAT(found.ranges, testing::ElementsAre(Verified::Range{4096, 8192}));
}

TEST_F(ApplierTest, ACopyThatCannotBeReadDiffers) {
  write(0, 4096, 1);
  world.settle();
  copies_[volume_a]->fail(MemoryDisk::Fault::reads);
  verify(0, pattern(4096, 1));
  write(0, 4096, 2);
  world.settle();
  EXPECT_EQ(verification.own(volume_a)->differing, 4096u);
  EXPECT_TRUE(holds(0, 4096, 2)) << "it goes on all the same";
}

// After a crash the copy may hold what comes behind the record.
TEST_F(ApplierTest, DoesNotCompareWhatWasAppliedBefore) {
  write(0, 4096, 1);
  verify(0, pattern(4096, 1));
  write(0, 4096, 2);
  world.settle();
  EXPECT_EQ(verification.own(volume_a)->compared, 4096u);
  run->kill();
  restarted = copies_[volume_a]->image();
  verification = Verification("h");
  begin();
  EXPECT_EQ(applier->applied_seq(), 3u);
  EXPECT_EQ(verification.own(volume_a)->compared, 0u);
  EXPECT_EQ(verification.own(volume_a)->skipped, 4096u);
}

TEST_F(ApplierTest, DoesNotCompareBehindAnOpenBracket) {
  run->put_mark(CASCADE_MARK_DETACHED);
  verify(0, pattern(4096, 1));
  write(0, 4096, 1);
  run->put_mark(CASCADE_MARK_ATTACHED);
  world.settle();
  EXPECT_EQ(verification.own(volume_a)->skipped, 4096u);
  EXPECT_EQ(verification.own(volume_a)->compared, 0u);
}

// ---- a delay, and moments before now

/// Ten seconds after one another three writes are taken in; nothing is applied before its time.
class ApplierDelay : public ApplierTest {
 protected:
  void SetUp() override {
    delay = seconds(25);
    ApplierTest::SetUp();
  }
  void write_and_wait(unsigned number) {
    write(8 * number, 4096, number);
    taken_in[number] = world.clock.realtime_ns();
    world.settle();
    for (int i = 0; i < 10; ++i) pass_a_second();
  }
  void write_three() {
    for (unsigned number = 1; number <= 3; ++number) write_and_wait(number);
  }
  std::array<std::uint64_t, 4> taken_in{};
};

TEST_F(ApplierDelay, IsKeptByEachWrite) {
  write_three();
  EXPECT_EQ(applier->applied_seq(), 1u) << "30 s after the first, 20 after the second";
  EXPECT_EQ(applier->applied_time_ns(), taken_in[1]);
  for (int i = 0; i < 6; ++i) pass_a_second();
  EXPECT_EQ(applier->applied_seq(), 2u);
  for (int i = 0; i < 10; ++i) pass_a_second();
  EXPECT_EQ(applier->applied_seq(), 3u);
}

TEST_F(ApplierDelay, IsGivenUpWhereTheJournalHasNoRoomForIt) {
  const std::size_t some = 1 << 16;
  unsigned count = 0;
  while (run->journal.used_bytes() < run->journal.size_bytes() / 8 * 5 && count < 2000) {
    write(0, some, ++count);
    world.settle();
  }
  EXPECT_EQ(applier->applied_seq(), 0u);
  EXPECT_FALSE(applier->delay_is_short());
  while (applier->applied_seq() == 0 && count < 4000) {
    write(0, some, ++count);
    world.settle();
  }
  EXPECT_GT(run->journal.used_bytes(), run->journal.size_bytes() / 2);
  EXPECT_LT(applier->applied_seq(), run->journal.stored_seq()) << "no more than it has to";
}

TEST_F(ApplierDelay, CopiesAreHeldAsOfAMomentThatIsNotDueYet) {
  write_three();
  applier->hold(false, seconds(30), taken_in[2] + 1);
  world.settle();
  ASSERT_TRUE(applier->held());
  EXPECT_EQ(applier->applied_seq(), 2u);
  applier->go_on();
  world.settle();
  EXPECT_EQ(applier->applied_seq(), 2u) << "the delay is kept again";
  for (int i = 0; i < 16; ++i) pass_a_second();
  EXPECT_EQ(applier->applied_seq(), 3u);
}

class ApplierEnd : public ApplierDelay {
 protected:
  void SetUp() override {
    end_at_ns = world.clock.realtime_ns() + 15'000'000'000;
    ApplierDelay::SetUp();
  }
};

TEST_F(ApplierEnd, AtAMomentGoesNoFurther) {
  write_three();
  ASSERT_TRUE(applier->at_end());
  EXPECT_EQ(applier->applied_seq(), 2u) << "whatever the delay";
  ASSERT_TRUE(world.get(applier->hand_over()));
  EXPECT_EQ(run->journal.takeover().seq, 2u);
  EXPECT_TRUE(holds(16, 4096, 2) && !holds(24, 4096, 3));
  EXPECT_EQ(run->journal.checkpoint_time_ns(), taken_in[2]);
}

}  // namespace
}  // namespace cascade::test
