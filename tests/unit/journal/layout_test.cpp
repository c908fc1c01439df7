// SPDX-License-Identifier: GPL-2.0-or-later
// Superblocks: there and back, chosen and refused. I4.
#include "lib/journal/layout.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t device_bytes = 64 * 1024 * 1024;

Superblock a_superblock(std::uint64_t generation = 5) {
  Superblock sb = *format_superblock(group, device_bytes);
  sb.generation = generation;
  sb.epoch = 3;
  sb.epoch_number = 44;
  sb.tail_position = 40960;
  sb.tail_number = 33;
  sb.tail_seq = 1234;
  sb.applied_seq = 1300;
  sb.limit_seq = 1400;
  sb.tail_previous_crc = 0xabcdef01;
  sb.clean = false;
  sb.stored_seq = 1350;
  sb.tail_history = 0x1122334455667788;
  sb.follower = volume_b;
  sb.gap_seq = 1399;
  sb.indexed = true;
  sb.index = 45056;
  sb.behind = {3, 1200, 0x99, 77};
  sb.volumes[volume_a] = {700};
  sb.volumes[volume_b] = {600, 0, {group, volume_a}, {5, 6}, true, {CASCADE_MARK_LEFT, 2, 99}};
  sb.volumes[volume_b].bytes = 1 << 20;
  return sb;
}

std::vector<std::byte> encoded(const Superblock& sb) {
  std::vector<std::byte> out(superblock_bytes);
  encode_superblock(sb, std::span(out).first<superblock_bytes>());
  return out;
}

Result<Superblock> decoded(const std::vector<std::byte>& bytes) {
  return decode_superblock(std::span(bytes).first<superblock_bytes>());
}

TEST(SuperblockFormat, ComesBackAsItWas) {
  const Superblock sb = a_superblock();
  const auto back = decoded(encoded(sb));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->journal, sb.journal);
  EXPECT_EQ(back->epoch_number, 44u);
  EXPECT_EQ(back->tail_position, 40960u);
  EXPECT_EQ(back->tail_seq, 1234u);
  EXPECT_EQ(back->applied_seq, 1300u);
  EXPECT_EQ(back->limit_seq, 1400u);
  EXPECT_EQ(back->tail_previous_crc, 0xabcdef01u);
  EXPECT_FALSE(back->clean);
  EXPECT_TRUE(back->indexed);
  EXPECT_EQ(back->index, 45056u);
  EXPECT_EQ(back->volumes, sb.volumes);
  EXPECT_EQ(back->stored_seq, 1350u);
  EXPECT_EQ(back->gap_seq, 1399u);
  EXPECT_EQ(back->behind, sb.behind);
  EXPECT_EQ(back->tail_history, 0x1122334455667788u);
  EXPECT_EQ(back->follower, volume_b);
}

// What a program that knows less would do wrong is required of it, and nothing else.
TEST(SuperblockFormat, RequiresWhatIsInUse) {
  const auto required = [](const Superblock& sb) {
    SuperblockDisk disk;
    const auto bytes = encoded(sb);
    std::memcpy(&disk, bytes.data(), sizeof disk);
    return le64toh(disk.required);
  };
  Superblock sb = *format_superblock(group, 64 << 20);
  EXPECT_EQ(required(sb), 0u);
  sb.behind.map = 1;
  EXPECT_EQ(required(sb), journal_required_behind);
  EXPECT_FALSE(decoded(encoded(sb))->jumped);
  sb.jumped = true;
  EXPECT_EQ(required(sb), journal_required_behind | journal_required_gaps);
  sb.past_limit = 0;
  EXPECT_EQ(required(sb), journal_required_behind | journal_required_gaps | journal_required_past);
  EXPECT_EQ(decoded(encoded(sb))->past_limit, 0u);
  sb = *format_superblock(group, 64 << 20);
  EXPECT_FALSE(decoded(encoded(sb))->rejoins);
  sb.rejoins = true;
  EXPECT_TRUE(decoded(encoded(sb))->rejoins);
  sb.granted = volume_a;
  EXPECT_EQ(required(sb), journal_required_grants);
  EXPECT_EQ(decoded(encoded(sb))->granted, volume_a);
  sb.granted = {};
  sb.volumes[volume_a];
  sb.volumes[volume_b].grant = {volume_a, group, volume_b};
  sb.petition = volume_b;
  sb.granted_time_ns = 7;
  EXPECT_EQ(required(sb), journal_required_grants);
  EXPECT_EQ(decoded(encoded(sb))->volumes, sb.volumes);
  EXPECT_EQ(decoded(encoded(sb))->petition, volume_b);
  EXPECT_EQ(decoded(encoded(sb))->granted_time_ns, 7u);
  sb.volumes.clear();
  sb.takeover = {volume_b, 5, true, {}};
  EXPECT_EQ(required(sb), journal_required_takeover);
  EXPECT_EQ(decoded(encoded(sb))->takeover, sb.takeover);
  sb.takeover = {volume_b, 5, false, 0};
  EXPECT_EQ(decoded(encoded(sb))->takeover, sb.takeover);
}

/// A superblock of another version, whole by its checksum.
Result<Superblock> of_version(void (*change)(SuperblockDisk&)) {
  auto bytes = encoded(a_superblock());
  SuperblockDisk disk;
  std::memcpy(&disk, bytes.data(), sizeof disk);
  change(disk);
  disk.crc = 0;
  std::memcpy(bytes.data(), &disk, sizeof disk);
  disk.crc = htole32(crc32c(bytes));
  std::memcpy(bytes.data(), &disk, sizeof disk);
  return decoded(bytes);
}

TEST(SuperblockFormat, IgnoresWhatANewerMinorVersionAdds) {
  const auto sb = of_version([](SuperblockDisk& d) {
    d.minor = htole16(9);
    d.optional = htole64(0x40);
    d.reserved[7] = 1;
  });
  ASSERT_TRUE(sb) << sb.error().text;
  EXPECT_EQ(sb->optional, 0x40u);
}

TEST(SuperblockFormat, NamesTheVersionAndTheCapabilitiesThatItCannotRead) {
  const auto major = of_version([](SuperblockDisk& d) { d.major = htole16(3); });
  ASSERT_FALSE(major);
  EXPECT_EQ(major.error().code, Errc::version);
  EXPECT_THAT(major.error().text, HasSubstr("version is 3.0, this program reads 2.x"));
  const auto required = of_version([](SuperblockDisk& d) { d.required = htole64(0x100); });
  ASSERT_FALSE(required);
  EXPECT_THAT(required.error().text, HasSubstr("capabilities 0x100 are required"));
}

TEST(SuperblockFormat, BeginsWithItsName) {
  const auto bytes = encoded(a_superblock());
  EXPECT_EQ(std::memcmp(bytes.data(), "CASCJRNL", 8), 0);
}

TEST(SuperblockFormat, AnyDamagedByteIsFound) {
  const auto good = encoded(a_superblock());
  for (std::size_t i = 0; i < superblock_bytes; i += i < 512 ? 1 : 997) {
    auto bad = good;
    bad[i] ^= std::byte{0x40};
    EXPECT_FALSE(decoded(bad)) << "byte " << i;
  }
}

TEST(SuperblockFormat, TooSmallADeviceIsRefused) {
  EXPECT_FALSE(format_superblock(group, journal_data_offset + journal_data_bytes_min - 1));
  EXPECT_TRUE(format_superblock(group, journal_data_offset + journal_data_bytes_min));
}

std::string refusal(const Result<Superblock>& a, const Result<Superblock>& b, const Uuid& wanted,
                    std::uint64_t bytes) {
  const auto chosen = choose_superblock(a, b, wanted, bytes, "/dev/j");
  return chosen ? "chosen " + std::to_string(chosen->generation) : chosen.error().text;
}

TEST(SuperblockChoice, TakesTheNewestWholeOne) {
  const Result<Superblock> bad = decoded(std::vector<std::byte>(superblock_bytes));
  EXPECT_EQ(refusal(a_superblock(5), a_superblock(6), group, device_bytes), "chosen 6");
  EXPECT_EQ(refusal(a_superblock(7), a_superblock(6), group, device_bytes), "chosen 7");
  EXPECT_EQ(refusal(bad, a_superblock(6), group, device_bytes), "chosen 6");
  EXPECT_EQ(refusal(a_superblock(5), bad, group, device_bytes), "chosen 5");
}

TEST(SuperblockChoice, SaysWhyNot) {
  const Result<Superblock> none = decoded(std::vector<std::byte>(superblock_bytes));
  auto damaged_bytes = encoded(a_superblock());
  damaged_bytes[300] ^= std::byte{1};
  const Result<Superblock> damaged = decoded(damaged_bytes);
  EXPECT_THAT(refusal(none, none, group, device_bytes), HasSubstr("is not a journal"));
  EXPECT_THAT(refusal(damaged, none, group, device_bytes),
              HasSubstr("copies of the superblock are unusable"));
  EXPECT_THAT(refusal(a_superblock(), none, volume_a, device_bytes),
              HasSubstr("is the journal of group"));
  EXPECT_THAT(refusal(a_superblock(), none, group, device_bytes - 4096),
              HasSubstr("was truncated"));
}

}  // namespace
}  // namespace cascade::test
