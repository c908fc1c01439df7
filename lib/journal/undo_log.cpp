// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/journal/undo_log.hpp"

#include "lib/base/checksum.hpp"

#include <endian.h>

#include <cstring>

namespace cascade {
namespace {

std::uint32_t crc_of(UndoHeader header) {
  header.crc = 0;
  return crc32c(std::as_bytes(std::span(&header, 1)));
}

UndoHeader header_in(std::span<const std::byte> bytes) {
  UndoHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

}  // namespace

void encode_undo(const UndoLog& log, const UndoEntry& entry, std::span<std::byte> out) {
  UndoHeader header{};
  header.magic = htole64(undo_magic);
  header.content_crc = htole32(crc32c(out.subspan(undo_block, entry.bytes)));
  std::memcpy(header.journal, log.journal.data, sizeof header.journal);
  header.limit_seq = htole64(log.limit_seq);
  header.index = htole64(entry.index);
  std::memcpy(header.volume, entry.volume.data, sizeof header.volume);
  header.offset = htole64(entry.offset);
  header.bytes = htole32(entry.bytes);
  header.crc = htole32(crc_of(header));
  std::memcpy(out.data(), &header, sizeof header);
}

std::optional<UndoEntry> decode_undo(const UndoLog& log, std::uint64_t index,
                                     std::span<const std::byte, undo_block> bytes) {
  const UndoHeader header = header_in(bytes);
  if (le64toh(header.magic) != undo_magic || le32toh(header.crc) != crc_of(header))
    return std::nullopt;
  UndoLog of;
  std::memcpy(of.journal.data, header.journal, sizeof header.journal);
  of.limit_seq = le64toh(header.limit_seq);
  UndoEntry entry;
  entry.index = le64toh(header.index);
  entry.offset = le64toh(header.offset);
  entry.bytes = le32toh(header.bytes);
  std::memcpy(entry.volume.data, header.volume, sizeof header.volume);
  if (of != log || entry.index != index || entry.bytes > undo_region_bytes) return std::nullopt;
  return entry;
}

bool undo_content_matches(std::span<const std::byte, undo_block> header,
                          std::span<const std::byte> content) {
  return le32toh(header_in(header).content_crc) == crc32c(content);
}

}  // namespace cascade
