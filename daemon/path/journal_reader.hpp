// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads a journal batch by batch: out of its memory where it still has them, else from the disk in
// large pieces, going on from where the last batch ended. What is read costs its own size, however
// small the batches are and however much of the journal lies before it.
#pragma once

#include "daemon/path/disk_window.hpp"
#include "daemon/path/journal.hpp"

#include <cstdint>

namespace cascade {

class JournalReader {
 public:
  enum class Part {
    whole,
    head,  // info and records alone: a batch may have no payload()
  };

  /// `journal` outlives it, and is open.
  explicit JournalReader(Journal& journal, Part part = Part::whole);

  /// The batch that holds `seq`, first_seq() <= seq <= sealed_seq() of the journal. One call at a
  /// time. Errc::corrupt: what is there is damaged, or has been given up meanwhile; errors of the
  /// device.
  Task<Result<BatchPtr>> read(std::uint64_t seq);
  /// Whether read() has it without reading from the disk.
  bool at_hand(std::uint64_t seq) const;

 private:
  void forget();
  bool is_last(std::uint64_t seq) const;
  std::size_t wanted_bytes(const BatchInfo& info) const;
  Task<Result<BatchPtr>> read_from_disk(std::uint64_t seq);
  Task<Result<BatchPtr>> take(const BatchInfo& info);
  Error damaged(std::uint64_t position, std::uint64_t seq) const;

  Journal& journal_;
  Part part_;
  DiskWindow window_;
  BatchPtr last_;  // as read from the disk; a caller may go through it in several steps
  std::uint64_t next_seq_ = 0;       // first one behind last_
  std::uint64_t next_position_ = 0;  // in the journal
};

}  // namespace cascade
