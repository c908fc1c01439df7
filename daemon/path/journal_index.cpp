// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/journal_index.hpp"

#include <algorithm>

namespace cascade {
namespace {

// 65536 entries of 40 bytes: 3 MiB of memory at the most.
constexpr std::uint64_t entries_max = 65536;
constexpr std::uint64_t spacing_min = 256 * 1024;

}  // namespace

JournalIndex::JournalIndex(std::uint64_t data_bytes)
    : spacing_(std::max(spacing_min, data_bytes / entries_max)) {}

void JournalIndex::add(const BatchInfo& batch) {
  if (batch.kind != BatchKind::data) return;
  if (!entries_.empty() && batch.position - entries_.back().position < spacing_) return;
  entries_.push_back(
      {batch.first_seq, batch.position, batch.number, batch.previous_crc, batch.history});
}

const JournalIndex::Entry* JournalIndex::find(std::uint64_t seq) const {
  if (entries_.empty()) return nullptr;
  auto after = std::upper_bound(entries_.begin(), entries_.end(), seq,
                                [](std::uint64_t s, const Entry& e) { return s < e.first_seq; });
  return after == entries_.begin() ? &entries_.front() : &*std::prev(after);
}

void JournalIndex::trim(std::uint64_t position) {
  while (!entries_.empty() && entries_.front().position < position) entries_.pop_front();
}

}  // namespace cascade
