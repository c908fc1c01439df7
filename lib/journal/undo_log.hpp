// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an open bracket's copies held at its limit X, region by region, before anything past X was
// written over it: a log of its own device, entries one behind the other.
//
//   | entry 0: nothing, "X is kept" | entry 1 | entry 2 | ...        entry := UndoHeader (4 KiB)
//   content
//
// An entry belongs to the log if its checksums, journal, limit and index fit; the first one that
// does not is the end. So a new bracket begins at the device's start and nothing has to be erased.
#pragma once

#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace cascade {

inline constexpr std::size_t undo_block = 4096;
inline constexpr std::size_t undo_region_bytes = 64 * 1024;
inline constexpr std::uint64_t undo_magic = 0x4f444e5543534143;  // "CASCUNDO"

/// 4096 bytes, little endian.
struct UndoHeader {
  std::uint64_t magic;          // undo_magic
  std::uint32_t crc;            // CRC-32C of the header with this field zero
  std::uint32_t content_crc;    // CRC-32C of the content
  std::uint8_t journal[16];     // UUID of the node's journal
  std::uint64_t limit_seq;      // X: the last group_seq that the content may have
  std::uint64_t index;          // of the entry in its log, from zero
  std::uint8_t volume[16];      // UUID; zero in entry 0
  std::uint64_t offset;         // bytes from the start of the copy
  std::uint32_t bytes;          // of content, at most undo_region_bytes; zero in entry 0
  std::uint8_t reserved[4020];  // zero
};
static_assert(sizeof(UndoHeader) == undo_block && offsetof(UndoHeader, reserved) == 76);

/// Whose log it is.
struct UndoLog {
  Uuid journal{};
  std::uint64_t limit_seq = 0;
  bool operator==(const UndoLog&) const = default;
};

struct UndoEntry {
  std::uint64_t index = 0;
  Uuid volume{};
  std::uint64_t offset = 0;
  std::uint32_t bytes = 0;
};

/// Header and content on the device.
constexpr std::size_t undo_entry_bytes(std::size_t bytes) {
  return undo_block + (bytes + undo_block - 1) / undo_block * undo_block;
}

/// Writes the header into the first undo_block bytes of `out`; its content stands behind already.
void encode_undo(const UndoLog& log, const UndoEntry& entry, std::span<std::byte> out);

/// What the header of entry `index` says; nothing if it is none of this log.
std::optional<UndoEntry> decode_undo(const UndoLog& log, std::uint64_t index,
                                     std::span<const std::byte, undo_block> header);
/// Whether `content` is what was written behind that header.
bool undo_content_matches(std::span<const std::byte, undo_block> header,
                          std::span<const std::byte> content);

}  // namespace cascade
