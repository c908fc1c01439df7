// SPDX-License-Identifier: GPL-2.0-or-later
// Finding a write's batch, from a bounded number of entries.
#include "daemon/path/journal_index.hpp"

#include <gtest/gtest.h>

namespace cascade {
namespace {

constexpr std::uint64_t step = 64 * 1024;

JournalIndex filled(std::uint64_t batches) {
  JournalIndex index(16 << 20);
  for (std::uint64_t i = 0; i < batches; ++i) {
    BatchInfo info;
    info.position = i * step;
    info.number = i + 1;
    info.first_seq = 1 + 10 * i;
    info.records = 10;
    index.add(info);
  }
  return index;
}

TEST(JournalIndex, FindsAnEntryAtOrBefore) {
  const JournalIndex index = filled(100);
  for (std::uint64_t seq = 1; seq <= 1000; ++seq) {
    const auto* entry = index.find(seq);
    ASSERT_NE(entry, nullptr);
    EXPECT_LE(entry->first_seq, seq);
    EXPECT_GT(entry->first_seq + 10 * 4, seq) << "entries are at most 256 KiB apart";
    EXPECT_EQ(entry->position, (entry->first_seq - 1) / 10 * step);
  }
}

TEST(JournalIndex, ForgetsWhatIsTrimmed) {
  JournalIndex index = filled(100);
  index.trim(50 * step);
  EXPECT_GE(index.find(1)->position, 50 * step);
  index.trim(1000 * step);
  EXPECT_EQ(index.find(1), nullptr);
}

TEST(JournalIndex, SkipsAreNoPlacesToBegin) {
  JournalIndex index(16 << 20);
  BatchInfo skip;
  skip.kind = BatchKind::skip;
  index.add(skip);
  EXPECT_EQ(index.find(1), nullptr);
}

}  // namespace
}  // namespace cascade
