// SPDX-License-Identifier: GPL-2.0-or-later
// The metadata area: where it is, what is refused, which copy counts.
#include "lib/meta/area.hpp"
#include "lib/base/checksum.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace cascade::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t MiB = 1024 * 1024;
constexpr std::uint64_t TiB = MiB * MiB;

TEST(MetaPlace, HasRoomForOneBitARegion) {
  EXPECT_EQ(meta::area_bytes(1), 128u * 1024);
  // 100 TiB are 400 Mi regions: 12 903 blocks of 32 512 bits, 52 850 688 bytes, and 64 KiB of head.
  EXPECT_EQ(meta::area_bytes(100 * TiB), 52953088u);
  EXPECT_GE((meta::area_bytes(100 * TiB) - CASCADE_META_BITMAP_OFFSET) / 4096 * 4064 * 8,
            100 * TiB / (256 * 1024));
}

TEST(MetaPlace, TakesTheEndOfADeviceOfAnySize) {
  const auto place = meta::internal_place("/dev/d", 10 * MiB + 512);
  ASSERT_TRUE(place) << place.error().text;
  EXPECT_EQ(place->offset + place->area_bytes, 10 * MiB);
  EXPECT_EQ(place->volume_bytes, place->offset);
  EXPECT_EQ(place->volume_bytes % 4096, 0u);
  EXPECT_THAT(meta::internal_place("/dev/d", 64 * 1024).error().text,
              HasSubstr("too few for an internal metadata area"));
}

TEST(MetaPlace, OnADeviceOfItsOwnLeavesTheVolumeAlone) {
  const auto place = meta::own_place("/dev/m", MiB, 10 * MiB + 512);
  ASSERT_TRUE(place) << place.error().text;
  EXPECT_EQ(place->volume_bytes, 10 * MiB + 512);
  EXPECT_THAT(meta::own_place("/dev/m", 4096, MiB).error().text,
              HasSubstr("needs 131072; use a larger device"));
}

meta::Area full_area() {
  meta::Area area;
  area.volume = volume_a;
  area.journal = volume_b;
  area.incarnation = group;
  area.counter = 7;
  area.volume_bytes = 10 * MiB;
  area.area_bytes = 128 * 1024;
  area.clean = false;
  area.numbered = true;
  area.differs = CASCADE_DIFFERS_LOCAL;
  area.end_seq = 42;
  area.local_errors = 3;
  area.written_ns = 1;
  area.device_bytes = 11 * MiB;
  area.device = "wwid naa.5000";
  area.meta_device = "serial 12";
  area.generations = {{volume_b, 40}, {volume_a, 0}};
  area.required = CASCADE_META_REQUIRED_BITMAP;
  area.optional = 1;
  area.reserved.back() = 9;
  return area;
}

TEST(MetaSuper, ComesBackAsItWasWritten) {
  std::array<std::byte, CASCADE_META_SUPER_BYTES> bytes, again;
  meta::encode_super(full_area(), bytes);
  const auto area = meta::decode_super(bytes);
  ASSERT_TRUE(area) << area.error().text;
  EXPECT_EQ(area->end_seq, 42u);
  EXPECT_EQ(area->device, "wwid naa.5000");
  EXPECT_EQ(area->generations[1].id, volume_a);
  meta::encode_super(*area, again);
  EXPECT_TRUE(bytes == again) << "a field was dropped on the way";
}

TEST(MetaSuper, DamageIsSeenWhereverItIs) {
  std::array<std::byte, CASCADE_META_SUPER_BYTES> bytes;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    meta::encode_super(full_area(), bytes);
    bytes[at] ^= std::byte{0x10};
    EXPECT_FALSE(meta::decode_super(bytes)) << "byte " << at;
  }
}

struct MetaFile : testing::Test {
  std::string path = testing::TempDir() + "meta-" + to_text(make_uuid());
  meta::Place place;

  MetaFile() {
    std::ofstream(path).close();
    std::filesystem::resize_file(path, 10 * MiB);
    place = *meta::internal_place(path, 10 * MiB);
  }
  ~MetaFile() override { std::filesystem::remove(path); }

  std::string format(bool force = false) {
    const auto made = meta::format_area(place, meta::new_area(volume_a, place, 1), force);
    return made ? "made" : made.error().text;
  }
  void spoil(std::uint64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put('!');
  }
};

TEST_F(MetaFile, IsMadeOnceUnlessForced) {
  EXPECT_THAT(meta::read_area(place, volume_a).error().text, HasSubstr("is no metadata area"));
  ASSERT_EQ(format(), "made");
  const auto first = meta::read_area(place, volume_a);
  ASSERT_TRUE(first) << first.error().text;
  EXPECT_THAT(format(), HasSubstr("already of volume " + to_text(volume_a)));
  ASSERT_EQ(format(true), "made");
  EXPECT_NE(meta::read_area(place, volume_a)->generations[0].id, first->generations[0].id)
      << "a new area is a new history";
}

TEST_F(MetaFile, IsNotMadeOverAFileSystem) {
  ASSERT_EQ(std::system(("mkfs.ext4 -q " + path).c_str()), 0);
  EXPECT_THAT(format(), HasSubstr("holds something (ext4)"));
}

TEST_F(MetaFile, OfAnotherVolumeIsNamed) {
  ASSERT_EQ(format(), "made");
  EXPECT_THAT(meta::read_area(place, volume_b).error().text,
              HasSubstr("is of volume " + to_text(volume_a)));
}

TEST_F(MetaFile, OneWholeCopyIsEnoughAndTheNewerCounts) {
  ASSERT_EQ(format(), "made");
  auto area = *meta::read_area(place, volume_a);
  area.end_seq = 9;
  ASSERT_TRUE(meta::rewrite_super(place, area));
  EXPECT_EQ(meta::read_area(place, volume_a)->end_seq, 9u);
  spoil(place.offset + 100);  // copy A, of the even counter 2
  EXPECT_EQ(meta::read_area(place, volume_a)->end_seq, 0u) << "the older copy";
  spoil(place.offset + 4096 + 100);
  const auto neither = meta::read_area(place, volume_a);
  EXPECT_THAT(neither.error().text, HasSubstr("its checksum is wrong"));
  EXPECT_THAT(format(), HasSubstr("has a metadata area already; --force"));
}

TEST_F(MetaFile, BehindAnotherHistorySaysFromWhere) {
  const auto area = meta::area_behind(volume_a, place, {volume_b, 42}, group, MiB, 1);
  ASSERT_TRUE(meta::format_area(place, area, false));
  const auto read = meta::read_area(place, volume_a);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(read->end_seq, 42u);
  EXPECT_TRUE(read->clean && read->numbered && !read->alone);
  EXPECT_EQ(read->volume_bytes, MiB);
  ASSERT_EQ(read->generations.size(), 2u);
  EXPECT_EQ(read->generations[0].id, volume_b);
  EXPECT_EQ(read->generations[0].began, 42u);
  EXPECT_EQ(read->generations[1].id, group);
  EXPECT_EQ(meta::area_behind(volume_a, place, {volume_b, 42}, group, TiB, 1).volume_bytes,
            place.volume_bytes);
}

TEST_F(MetaFile, IsWipedOnlyForItsVolume) {
  ASSERT_EQ(format(), "made");
  EXPECT_FALSE(meta::wipe_area(place, volume_b));
  ASSERT_TRUE(meta::read_area(place, volume_a));
  ASSERT_TRUE(meta::wipe_area(place, volume_a));
  EXPECT_EQ(meta::read_area(place, volume_a).error().code, Errc::not_found);
  EXPECT_TRUE(meta::wipe_area(place, volume_a)) << "once more";
}

struct MetaEnd : MetaFile {
  meta::Area area =
      meta::area_behind(volume_a, place, {volume_b, 42}, group, place.volume_bytes, 1);
  MetaEnd() { area.required = CASCADE_META_REQUIRED_BITMAP; }

  /// As the module writes it.
  void mark(std::uint64_t bits) {
    cascade_meta_block block{};
    block.magic = CASCADE_META_BLOCK_MAGIC;
    block.bits[0] = bits;
    block.crc = crc32c(std::as_bytes(std::span(&block, 1)));
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(place.offset + CASCADE_META_BITMAP_OFFSET));
    file.write(reinterpret_cast<const char*>(&block), sizeof block);
  }
  std::string why_not() {
    const auto ended = meta::ended_in_order(place, area);
    return ended ? "ended" : ended.error().text;
  }
};

TEST_F(MetaEnd, IsInOrderIfNothingMayDiffer) {
  ASSERT_TRUE(meta::format_area(place, area, false));
  mark(0);
  EXPECT_EQ(why_not(), "ended");
  mark(5);
  EXPECT_THAT(why_not(), HasSubstr("2 of its regions of 256 KiB are out of sync"));
  spoil(place.offset + CASCADE_META_BITMAP_OFFSET + 100);
  EXPECT_THAT(why_not(), HasSubstr("40 of its"));
  mark(0);
  area.differs = CASCADE_DIFFERS_LOCAL;
  EXPECT_THAT(why_not(), HasSubstr("a local write failed"));
  area.clean = false;
  EXPECT_THAT(why_not(), HasSubstr("not closed in order"));
  area.alone = true;
  EXPECT_THAT(why_not(), HasSubstr("without its hub"));
  area.numbered = false;
  EXPECT_THAT(why_not(), HasSubstr("not been with a hub"));
}

}  // namespace
}  // namespace cascade::test
