// SPDX-License-Identifier: GPL-2.0-or-later
//
// Copies that go past an open bracket, and back to its limit. I3.
#include "daemon/path/undo.hpp"

#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t undo_copy_bytes = 3 * undo_region_bytes + 4096;

class UndoTest : public testing::Test {
 protected:
  UndoTest() {
    for (const Uuid& uuid : {volume_a, volume_b}) {
      auto copy = std::make_unique<MemoryDisk>(world.executor, "copy", undo_copy_bytes);
      std::memcpy(copy->image().data(), pattern(undo_copy_bytes, uuid.data[0]).data(),
                  undo_copy_bytes);
      before[uuid] = copy->image();
      images[uuid] = &copy->image();
      copies[uuid] = std::move(copy);
    }
    EXPECT_TRUE(world.get(undo->begin(log)));
  }
  /// Keeps what is there, then overwrites it.
  void overwrite(const Uuid& uuid, std::uint64_t begin, std::uint64_t end) {
    const std::vector<Undo::Range> range{{uuid, begin, end}};
    ASSERT_TRUE(world.get(undo->keep(copies, range)));
    std::memset(images[uuid]->data() + begin, ++filler, end - begin);
  }
  void restart() {
    undo.emplace(disk);
    ASSERT_TRUE(world.get(undo->open(log)));
  }
  bool as_before() {
    return *images[volume_a] == before[volume_a] && *images[volume_b] == before[volume_b];
  }

  World world;
  MemoryDisk disk{world.executor, "undo", 1 << 20};
  const UndoLog log{make_uuid(), 7};
  Undo::Copies copies;
  std::map<Uuid, std::vector<std::byte>> before;
  std::map<Uuid, std::vector<std::byte>*> images;
  std::optional<Undo> undo{std::in_place, disk};
  int filler = 0;
};

TEST_F(UndoTest, BringsBackWhatWasThere) {
  overwrite(volume_a, 0, 512);
  overwrite(volume_b, undo_region_bytes - 512, undo_region_bytes + 512);
  overwrite(volume_a, undo_copy_bytes - 4096, undo_copy_bytes);
  overwrite(volume_a, 512, 1024);  // of a region that is kept already
  EXPECT_FALSE(as_before());
  ASSERT_TRUE(world.get(undo->restore(copies)));
  EXPECT_TRUE(as_before());
}

TEST_F(UndoTest, KeepsARegionOnce) {
  overwrite(volume_a, 0, 512);
  const auto used = undo->used_bytes();
  EXPECT_EQ(used, undo_entry_bytes(0) + undo_entry_bytes(undo_region_bytes));
  overwrite(volume_a, 0, 512);
  EXPECT_EQ(undo->used_bytes(), used);
}

TEST_F(UndoTest, GoesOnAfterARestart) {
  overwrite(volume_a, 0, 512);
  restart();
  EXPECT_TRUE(undo->holds(log));
  overwrite(volume_a, 0, 512);
  overwrite(volume_b, 0, 512);
  restart();
  ASSERT_TRUE(world.get(undo->restore(copies)));
  EXPECT_TRUE(as_before());
}

// Whatever is on the device from before does not count.
TEST_F(UndoTest, IsOfOneBracketOfOneJournal) {
  overwrite(volume_a, 0, 512);
  for (const UndoLog& other : {UndoLog{log.journal, 8}, UndoLog{make_uuid(), 7}}) {
    ASSERT_TRUE(world.get(undo->open(other)));
    EXPECT_FALSE(undo->holds(other));
  }
  const UndoLog next{log.journal, 8};
  ASSERT_TRUE(world.get(undo->begin(next)));
  undo.emplace(disk);
  ASSERT_TRUE(world.get(undo->open(next)));
  EXPECT_EQ(undo->used_bytes(), undo_entry_bytes(0)) << "the old entry behind it is none of it";
}

TEST_F(UndoTest, AnEntryThatIsTornEndsIt) {
  overwrite(volume_a, 0, 512);
  overwrite(volume_b, 0, 512);
  const auto used = undo->used_bytes();
  disk.image()[used - 1] ^= std::byte{1};
  restart();
  EXPECT_EQ(undo->used_bytes(), used - undo_entry_bytes(undo_region_bytes));
}

TEST_F(UndoTest, SaysWhatCannotBeBroughtBack) {
  overwrite(volume_a, 0, 512);
  disk.image()[undo_entry_bytes(0) + undo_block] ^= std::byte{1};
  const auto restored = world.get(undo->restore(copies));
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, Errc::corrupt);
  EXPECT_THAT(restored.error().text, HasSubstr("can't be brought back to write 7"));
}

TEST_F(UndoTest, KnowsWhenThereIsNoRoom) {
  MemoryDisk small(world.executor, "undo",
                   undo_entry_bytes(0) + undo_entry_bytes(undo_region_bytes));
  Undo tight(small);
  ASSERT_TRUE(world.get(tight.begin(log)));
  const auto keep = [&](const Uuid& volume, std::uint64_t end) {
    const std::vector<Undo::Range> range{{volume, 0, end}};
    return world.get(tight.keep(copies, range));
  };
  const auto full = keep(volume_a, undo_region_bytes + 1);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::full);
  EXPECT_EQ(tight.used_bytes(), undo_entry_bytes(0)) << "all or nothing";
  EXPECT_TRUE(keep(volume_a, 512));
  EXPECT_TRUE(keep(group, 512)) << "there is no such copy";
}

TEST_F(UndoTest, IsWorthNothingOnceItWasGivenUp) {
  overwrite(volume_a, 0, 512);
  ASSERT_TRUE(world.get(undo->abandon()));
  EXPECT_FALSE(undo->holds(log));
  restart();
  EXPECT_FALSE(undo->holds(log));
}

}  // namespace
}  // namespace cascade::test
