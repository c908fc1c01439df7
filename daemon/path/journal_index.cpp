// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/journal_index.hpp"

#include <algorithm>
#include <utility>

namespace cascade {
namespace {

// 65536 entries of 56 bytes: 4 MiB of memory at the most, and a thousand blocks on disk.
constexpr std::uint64_t entries_max = 65536;
constexpr std::uint64_t spacing_min = 256 * 1024;

}  // namespace

JournalIndex::JournalIndex(std::uint64_t data_bytes)
    : spacing_(std::max(spacing_min, data_bytes / entries_max)) {}

void JournalIndex::add(const BatchInfo& batch) {
  if (batch.kind != BatchKind::data) return;
  if (std::exchange(enter_next_, false) || entries_.empty() ||
      batch.position - entries_.back().position >= spacing_) {
    entries_.push_back({batch.first_seq, batch.position, batch.number, batch.history,
                        batch.append_time_ns, payload_after_, batch.previous_crc});
    ++unsaved_;
    payload_after_ = 0;
  }
  payload_after_ += batch.payload_bytes;
}

const JournalIndex::Entry* JournalIndex::find(std::uint64_t seq) const {
  if (entries_.empty()) return nullptr;
  auto after = std::upper_bound(entries_.begin(), entries_.end(), seq,
                                [](std::uint64_t s, const Entry& e) { return s < e.first_seq; });
  return after == entries_.begin() ? &entries_.front() : &*std::prev(after);
}

void JournalIndex::trim(std::uint64_t position) {
  while (!entries_.empty() && entries_.front().position < position) entries_.pop_front();
  unsaved_ = std::min(unsaved_, entries_.size());
  if (last_block_ && *last_block_ < position) last_block_.reset();
}

IndexBlock JournalIndex::unsaved() const {
  IndexBlock block{last_block_, 0, {}};
  const std::size_t count = std::min(unsaved_, index_entries_max);
  const auto begin = entries_.end() - static_cast<std::ptrdiff_t>(unsaved_);
  block.entries.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
  block.payload_after = count < unsaved_
                            ? (begin + static_cast<std::ptrdiff_t>(count))->payload_before
                            : payload_after_;
  return block;
}

void JournalIndex::saved(std::uint64_t position) {
  unsaved_ -= std::min(unsaved_, index_entries_max);
  last_block_ = position;
}

void JournalIndex::restore(const Entry& begin, std::span<const IndexBlock> blocks,
                           std::uint64_t position) {
  entries_.assign(1, begin);
  for (const IndexBlock& block : blocks) {
    for (const Entry& entry : block.entries) {
      // The same batch, of which the index knows more.
      if (entry.position == begin.position) entries_.front() = entry;
      if (entry.position > begin.position) entries_.push_back(entry);
    }
    payload_after_ = block.payload_after;
  }
  last_block_ = position;
}

}  // namespace cascade
