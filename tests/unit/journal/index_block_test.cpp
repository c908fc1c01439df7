// SPDX-License-Identifier: GPL-2.0-or-later
// The index as a block of the journal: there and back, and refused.
#include "lib/journal/index_block.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gmock/gmock.h>

#include <array>

namespace cascade::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t position = 64 * 1024 * 1024;
const Uuid journal = make_uuid();

using Block = std::array<std::byte, journal_block>;

IndexBlock full() {
  IndexBlock index{40960, 77, {}};
  for (std::uint64_t i = 0; i < index_entries_max; ++i)
    index.entries.push_back({100 + 10 * i, 45056 + i * 262144, 5 + 3 * i, 0x99 + i, 1000 + i,
                             200'000 + i, static_cast<std::uint32_t>(0xabc + i)});
  return index;
}

Block encoded(const IndexBlock& index, std::uint64_t at = position) {
  Block block{};
  encode_index(index, block);
  BatchInfo info;
  info.kind = BatchKind::index;
  info.bytes = journal_block;
  info.number = 500;
  info.position = at;
  info.first_seq = 5000;
  seal_batch(info, journal, block);
  return block;
}

void expect_refused(const Block& block, const char* why, std::uint64_t at = position) {
  const auto index = decode_index(block, journal, at);
  ASSERT_FALSE(index) << why;
  EXPECT_EQ(index.error().code, Errc::corrupt);
  EXPECT_THAT(index.error().text, HasSubstr(why));
}

TEST(IndexBlock, ComesBackAsItWas) {
  for (const IndexBlock& index :
       {full(), IndexBlock{}, IndexBlock{0, 5, {{1, 4096, 2, 3, 4, 5, 6}}}}) {
    const auto back = decode_index(encoded(index), journal, position);
    ASSERT_TRUE(back) << back.error().text;
    EXPECT_EQ(*back, index);
  }
}

TEST(IndexBlock, WithAnyBitChangedIsRefused) {
  const Block good = encoded(full());
  for (std::size_t at = 0; at < good.size(); at += 3) {
    Block bad = good;
    bad[at] ^= std::byte{0x10};
    EXPECT_FALSE(decode_index(bad, journal, position)) << "byte " << at;
  }
}

TEST(IndexBlock, OfAnotherPlaceOrJournalIsNone) {
  expect_refused(encoded(full()), "there is none", position + journal_block);
  EXPECT_FALSE(decode_index(encoded(full()), make_uuid(), position));
}

// Whole by its checksums, and still nothing to follow: no walk back may go round, or forwards.
TEST(IndexBlock, OutOfOrderIsRefused) {
  IndexBlock index = full();
  std::swap(index.entries[3], index.entries[4]);
  expect_refused(encoded(index), "out of order");
  index = full();
  index.entries.back().position = position;
  expect_refused(encoded(index), "out of order");
  index = full();
  index.previous = position;
  expect_refused(encoded(index), "the one before it");
}

}  // namespace
}  // namespace cascade::test
