// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where in the journal a group_seq is: some batches, evenly spread, so that memory is bounded
// whatever the journal's size; a reader walks on from the nearest one before. Saved in the journal
// itself, now and then (lib/journal/index_block.hpp).
#pragma once

#include "lib/journal/index_block.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>

namespace cascade {

class JournalIndex {
 public:
  using Entry = IndexEntry;

  /// `data_bytes`: size of the circle; sets how far entries are apart.
  explicit JournalIndex(std::uint64_t data_bytes);

  /// Batches are offered in order; most are only counted.
  void add(const BatchInfo& batch);
  /// The next batch has an entry in any case: a journal's tail can stand at entries alone.
  void enter_next() { enter_next_ = true; }
  /// The last entry that begins at or before `seq`; the oldest if there is none.
  const Entry* find(std::uint64_t seq) const;
  /// Forgets what lies before `position`.
  void trim(std::uint64_t position);

  /// A whole block's worth has not been saved.
  bool due() const { return unsaved_ >= index_entries_max; }
  bool all_saved() const { return unsaved_ == 0; }
  /// What is to be saved next: the oldest entries that are not, a block's worth at the most.
  IndexBlock unsaved() const;
  /// That is on disk, in a block at `position`.
  void saved(std::uint64_t position);
  /// Where the last block is; nothing: none is in the circle.
  std::optional<std::uint64_t> last_block() const { return last_block_; }

  /// At opening, before anything is added: `begin`, and what lies behind it of `blocks`, which are
  /// in the order of the journal, the last one at `position`.
  void restore(const Entry& begin, std::span<const IndexBlock> blocks, std::uint64_t position);
  const std::deque<Entry>& entries() const { return entries_; }
  /// Bytes of payload behind the last entry.
  std::uint64_t payload_after() const { return payload_after_; }

 private:
  std::uint64_t spacing_;
  std::deque<Entry> entries_;
  bool enter_next_ = false;
  std::size_t unsaved_ = 0;  // of entries_, at its end
  std::uint64_t payload_after_ = 0;
  std::optional<std::uint64_t> last_block_;
};

}  // namespace cascade
