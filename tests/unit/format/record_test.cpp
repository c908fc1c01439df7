// SPDX-License-Identifier: GPL-2.0-or-later
// The record: its bytes, and everything that makes one wrong. I4.
#include "lib/base/limits.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>

namespace cascade::test {
namespace {

using testing::HasSubstr;

TEST(Checksum, IsCrc32cOfRfc3720) {
  const std::string digits = "123456789";
  const auto bytes = std::as_bytes(std::span(digits));
  EXPECT_EQ(crc32c(bytes), 0xe3069283u);
  EXPECT_EQ(crc32c(bytes.subspan(4), crc32c(bytes.first(4))), 0xe3069283u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Record, HasTheseBytes) {
  const auto payload = pattern(512, 1);
  Record r = make_record(0x1122334455667788 & (CASCADE_SEQ_MAX - 1), payload, 0x0102030405060708);
  r.flags = CASCADE_FLAG_FUA;
  r.primary_time_ns = htole64(0x1f2f3f4f5f6f7f8f);
  set_group_seq(r, 0x99);
  const std::array<unsigned char, 64> golden = {
      0x00, 0x00, 0x00, 0x00, 0x02, 0x01, 0x01, 0x00, 0x0b, 0x9c, 0x6f, 0x0e, 0x5c,
      0x1d, 0x4e, 0x0b, 0x8f, 0x43, 0x2d, 0x1f, 0x6e, 0xa0, 0xb0, 0x02, 0x08, 0x07,
      0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x99, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x8f, 0x7f, 0x6f, 0x5f, 0x4f, 0x3f, 0x2f, 0x1f};
  std::array<unsigned char, 64> bytes;
  std::memcpy(bytes.data(), &r, sizeof r);
  // The two checksums are computed, not laid out: they are checked by their own rules below.
  for (const std::size_t i : {0, 1, 2, 3, 36, 37, 38, 39}) bytes[i] = 0;
  EXPECT_EQ(bytes, golden);
  EXPECT_EQ(le32toh(r.record_crc), crc32c(std::as_bytes(std::span(&r, 1)).subspan(4)));
  EXPECT_EQ(le32toh(r.payload_crc), crc32c(payload));
}

TEST(Record, AsMadeIsRight) {
  const auto payload = pattern(4096, 2);
  const Record r = make_record(1, payload);
  EXPECT_TRUE(check_record(r));
  EXPECT_TRUE(payload_matches(r, payload));
  EXPECT_TRUE(check_record(make_record(1, {}, 8, volume_a, CASCADE_OP_DISCARD, 1 << 20)));
}

TEST(Record, EveryFlippedBitIsFound) {
  const auto payload = pattern(512, 3);
  const Record good = make_record(7, payload);
  for (std::size_t bit = 0; bit < 8 * sizeof good; ++bit) {
    Record bad = good;
    reinterpret_cast<unsigned char*>(&bad)[bit / 8] ^= static_cast<unsigned char>(1u << bit % 8);
    EXPECT_FALSE(check_record(bad)) << "bit " << bit;
  }
  auto flipped = payload;
  flipped[100] ^= std::byte{1};
  EXPECT_FALSE(payload_matches(good, flipped));
  EXPECT_FALSE(payload_matches(good, std::span(payload).first(511)));
}

// What the hub copies: bytes with their checksum, zeroes without a payload.
TEST(RecordCheck, TakesWhatTheHubCopies) {
  std::array<std::byte, 1024> bytes{};
  Record zeroes = make_copy(volume_a, 6, bytes, 0, 1);
  set_group_seq(zeroes, 9);
  EXPECT_TRUE(check_record(zeroes));
  EXPECT_EQ(zeroes.op, CASCADE_OP_WRITE_ZEROES);
  EXPECT_TRUE(payload_matches(zeroes, {}));
  bytes.back() = std::byte{1};
  Record data = make_copy(volume_a, 6, bytes, 0, 1);
  set_group_seq(data, 9);
  EXPECT_TRUE(check_record(data));
  EXPECT_EQ(sector_of(data), 6u);
  EXPECT_TRUE(payload_matches(data, bytes));
}

TEST(RecordCheck, AComparisonHasARangeAndNoPayload) {
  Record r = make_record(1, {}, 8, volume_a, CASCADE_OP_VERIFY, 4096);
  r.payload_crc = htole32(0x12345678);
  seal(r);
  EXPECT_TRUE(check_record(r));
  EXPECT_EQ(payload_bytes_of(r), 0u);
  EXPECT_TRUE(payload_matches(r, {}));
  EXPECT_FALSE(changes_copy(r));
  EXPECT_TRUE(inside(r, 8192));
  EXPECT_FALSE(inside(r, 8191));
  r.length = htole32(limits::record_payload_bytes_max + 512);
  seal(r);
  EXPECT_FALSE(check_record(r)) << "it is read into memory";
  r.length = htole32(4096);
  r.flags = CASCADE_FLAG_FUA;
  seal(r);
  EXPECT_FALSE(check_record(r));
}

TEST(Record, MarksAndNoopsHaveTheirPlacesOnly) {
  Record noop = make_record(3, {}, 0, volume_a, CASCADE_OP_NOOP, 0);
  EXPECT_TRUE(check_record(noop));
  EXPECT_EQ(payload_bytes_of(noop), 0u);
  Record mark = make_record(0, {}, CASCADE_MARK(CASCADE_MARK_LEFT, CASCADE_WHY_RESYNC), volume_a,
                            CASCADE_OP_MARK, 0);
  EXPECT_FALSE(check_record(mark)) << "nobody but the hub makes one, with its number";
  set_group_seq(mark, 8);
  EXPECT_TRUE(check_record(mark));
  for (const std::uint64_t unknown :
       std::initializer_list<std::uint64_t>{CASCADE_MARK(5, 1), CASCADE_MARK(0, 1),
                                            CASCADE_MARK(1, 0), CASCADE_MARK(1, 4), 0x10101}) {
    mark.sector = htole64(unknown);
    seal(mark);
    EXPECT_FALSE(check_record(mark)) << unknown;
  }
  Record caught_up = make_caught_up(group, 7, 1);
  set_group_seq(caught_up, 8);
  EXPECT_TRUE(check_record(caught_up));
  caught_up.volume_seq = htole64(CASCADE_SEQ_MAX);
  seal(caught_up);
  EXPECT_FALSE(check_record(caught_up));
  Record zeroes = make_record(1, {}, 0, volume_a, CASCADE_OP_WRITE_ZEROES, 4096);
  zeroes.flags = CASCADE_FLAG_NOUNMAP;
  seal(zeroes);
  EXPECT_TRUE(check_record(zeroes));
}

struct Wrong {
  const char* says;
  std::function<void(Record&)> change;
};

TEST(Record, WrongFieldsAreNamed) {
  const Wrong table[] = {
      {"version is 1", [](Record& r) { r.version = 1; }},
      {"operation 0 is not known", [](Record& r) { r.op = 0; }},
      {"operation 8 is not known", [](Record& r) { r.op = 8; }},
      {"flags 0x80 are not known", [](Record& r) { r.flags = 0x80; }},
      {"reserved byte", [](Record& r) { r.reserved = 1; }},
      {"sequence number", [](Record& r) { r.volume_seq = 0; }},
      {"sequence number", [](Record& r) { r.volume_seq = htole64(CASCADE_SEQ_MAX); }},
      {"sequence number", [](Record& r) { r.group_seq = ~0ull; }},
      {"length is 0 bytes", [](Record& r) { r.length = 0; }},
      {"length is 513 bytes", [](Record& r) { r.length = htole32(513); }},
      {"length is 262656 bytes", [](Record& r) { r.length = htole32(256 * 1024 + 512); }},
      {"beyond any device", [](Record& r) { r.sector = ~0ull; }},
      {"wanted none", [](Record& r) { r.op = CASCADE_OP_FLUSH; }},
      {"wanted none", [](Record& r) { r.op = CASCADE_OP_NOOP; }},
      {"stay allocated", [](Record& r) { r.flags = CASCADE_FLAG_NOUNMAP; }},
      {"none in its volume's", [](Record& r) { r.op = CASCADE_OP_MARK; }},
  };
  for (const Wrong& wrong : table) {
    Record r = make_record(1, pattern(512, 4));
    wrong.change(r);
    seal(r);
    const auto checked = check_record(r);
    ASSERT_FALSE(checked) << wrong.says;
    EXPECT_THAT(checked.error().text, HasSubstr(wrong.says));
  }
}

}  // namespace
}  // namespace cascade::test
