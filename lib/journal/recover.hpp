// SPDX-License-Identifier: GPL-2.0-or-later
//
// Recovery: walk the circle from the superblock's tail to the last whole batch. Decides, reads
// nothing: the caller asks next() what to read, reads it, and feeds it back, so that the same code
// runs in the daemon, in the simulator, in the fuzzer and in the offline checker.
#pragma once

#include "lib/journal/layout.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <span>

namespace cascade {

class Recovery {
 public:
  struct Read {
    std::uint64_t offset;  // bytes from the start of the device, a multiple of journal_block
    std::size_t bytes;     // a multiple of journal_block, at most batch_bytes_max
  };

  /// Where appending goes on: just behind the last whole batch.
  struct Head {
    std::uint64_t position = 0;
    std::uint64_t number = 0;  // of the next batch
    std::uint64_t seq = 0;     // of the next record
    std::uint32_t previous_crc = 0;
    bool torn = false;  // something unfinished stood behind the last whole batch; it is discarded
  };

  explicit Recovery(const Superblock& superblock);

  /// What to read next; nothing when the walk is over (or has failed).
  std::optional<Read> next() const;

  /// The bytes that next() asked for. Returns the batch if a whole data batch was just completed.
  /// Errc::corrupt: damage with valid batches behind it; the text says where. Stop, change nothing.
  Result<std::optional<BatchInfo>> feed(std::span<const std::byte> bytes);

  /// Valid once next() returns nothing and no feed() failed.
  const Head& head() const;

  /// Last volume_seq of each volume through the head.
  const std::map<Uuid, std::uint64_t>& volume_seqs() const;
};

}  // namespace cascade
