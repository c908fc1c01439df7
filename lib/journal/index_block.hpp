// SPDX-License-Identifier: GPL-2.0-or-later
//
// The journal's index, in the circle itself: now and then a batch of one block that says where the
// data batches since the index before it begin, some of them, evenly spread. So whoever opens a
// journal reads the indexes, from the last one back to the tail, and what stands behind the last
// one; what lies between is read when somebody asks for it.
//
//   | BatchHeader, kind index | IndexHead | IndexEntryDisk * entries | zero |      4096 bytes
//
// All little endian.
#pragma once

#include "lib/journal/layout.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cascade {

/// Entries of one index: no more than fit, and the walk behind the last one stays short.
inline constexpr std::size_t index_entries_max = 64;

/// Stands behind the BatchHeader. 32 bytes, entries follow.
struct IndexHead {
  std::uint32_t crc;            // CRC-32C of the rest of the block behind this field
  std::uint32_t entries;        // IndexEntryDisk that follow
  std::uint64_t previous;       // one more than the position of the index before; zero: none
  std::uint64_t payload_after;  // bytes of payload between the last entry and this index
  std::uint64_t reserved;       // zero; ignored by readers of this minor version
};
static_assert(sizeof(IndexHead) == 32 && offsetof(IndexHead, previous) == 8);

/// Where a data batch begins, and what its header says. 56 bytes.
struct IndexEntryDisk {
  std::uint64_t first_seq;       // BatchHeader.first_seq
  std::uint64_t position;        // BatchHeader.position
  std::uint64_t number;          // BatchHeader.number
  std::uint64_t history;         // BatchHeader.history
  std::uint64_t append_time_ns;  // BatchHeader.append_time_ns
  std::uint64_t payload_before;  // bytes of payload between the entry before and this one
  std::uint32_t previous_crc;    // BatchHeader.previous_crc
  std::uint32_t reserved;        // zero; ignored by readers of this minor version
};
static_assert(sizeof(IndexEntryDisk) == 56);
static_assert(sizeof(BatchHeader) + sizeof(IndexHead) +
                  index_entries_max * sizeof(IndexEntryDisk) <=
              journal_block);

/// The same in host order.
struct IndexEntry {
  std::uint64_t first_seq = 0;
  std::uint64_t position = 0;
  std::uint64_t number = 0;
  History history = 0;  // before first_seq
  std::uint64_t append_time_ns = 0;
  std::uint64_t payload_before = 0;
  std::uint32_t previous_crc = 0;
  bool operator==(const IndexEntry&) const = default;
};

struct IndexBlock {
  std::optional<std::uint64_t> previous;  // position of the index before
  std::uint64_t payload_after = 0;
  std::vector<IndexEntry> entries;  // in the order of the journal, at most index_entries_max
  bool operator==(const IndexBlock&) const = default;
};

/// Fills what stands behind the BatchHeader in `block`, whose first bytes it leaves alone.
void encode_index(const IndexBlock& index, std::span<std::byte, journal_block> block);

/// Checks the whole block, header included. Errc::corrupt: it is no index of this journal at
/// `position`, or it is damaged.
Result<IndexBlock> decode_index(std::span<const std::byte, journal_block> block,
                                const Uuid& journal, std::uint64_t position);

}  // namespace cascade
