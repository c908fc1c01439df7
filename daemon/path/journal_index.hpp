// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where in the journal a group_seq is: some batches, evenly spread, so that memory is bounded
// whatever the journal's size; a reader walks on from the nearest one before.
#pragma once

#include "lib/journal/layout.hpp"

#include <cstdint>
#include <deque>

namespace cascade {

class JournalIndex {
 public:
  struct Entry {
    std::uint64_t first_seq;
    std::uint64_t position;
    std::uint64_t number;
    std::uint32_t previous_crc;
    History history;  // before first_seq
  };

  /// `data_bytes`: size of the circle; sets how far entries are apart.
  explicit JournalIndex(std::uint64_t data_bytes);

  /// Batches are offered in order; most are only counted.
  void add(const BatchInfo& batch);
  /// The last entry that begins at or before `seq`; the oldest if there is none.
  const Entry* find(std::uint64_t seq) const;
  /// Forgets what lies before `position`.
  void trim(std::uint64_t position);

 private:
  std::uint64_t spacing_;
  std::deque<Entry> entries_;
};

}  // namespace cascade
