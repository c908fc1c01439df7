// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/journal/index_block.hpp"

#include "lib/base/checksum.hpp"

#include <fmt/format.h>

#include <endian.h>

#include <cstring>

namespace cascade {
namespace {

constexpr std::size_t head_at = sizeof(BatchHeader);
constexpr std::size_t entries_at = head_at + sizeof(IndexHead);

std::uint32_t index_crc(std::span<const std::byte, journal_block> block) {
  return crc32c(block.subspan(head_at + sizeof IndexHead{}.crc));
}

IndexEntryDisk to_disk(const IndexEntry& entry) {
  IndexEntryDisk disk{};
  disk.first_seq = htole64(entry.first_seq);
  disk.position = htole64(entry.position);
  disk.number = htole64(entry.number);
  disk.history = htole64(entry.history);
  disk.append_time_ns = htole64(entry.append_time_ns);
  disk.payload_before = htole64(entry.payload_before);
  disk.previous_crc = htole32(entry.previous_crc);
  return disk;
}

IndexEntry from_disk(const IndexEntryDisk& disk) {
  return {le64toh(disk.first_seq),   le64toh(disk.position),       le64toh(disk.number),
          le64toh(disk.history),     le64toh(disk.append_time_ns), le64toh(disk.payload_before),
          le32toh(disk.previous_crc)};
}

Error bad_index(const std::string& what) { return Error{Errc::corrupt, "index: " + what}; }

/// Each behind the one before, and all before the index.
Result<void> check_order(const IndexBlock& index, std::uint64_t position) {
  if (index.previous && (*index.previous >= position || *index.previous % journal_block != 0))
    return bad_index(fmt::format("the one before it is at position {}", *index.previous));
  std::uint64_t seq = 0, least = 0;
  for (const IndexEntry& entry : index.entries) {
    if (entry.position % journal_block != 0 || entry.position >= position ||
        entry.position < least || entry.first_seq <= seq || entry.number == 0)
      return bad_index(
          fmt::format("write {} at position {} is out of order", entry.first_seq, entry.position));
    least = entry.position + journal_block;
    seq = entry.first_seq;
  }
  return {};
}

}  // namespace

void encode_index(const IndexBlock& index, std::span<std::byte, journal_block> block) {
  std::memset(block.data() + head_at, 0, journal_block - head_at);
  std::byte* at = block.data() + entries_at;
  for (const IndexEntry& entry : index.entries) {
    const IndexEntryDisk disk = to_disk(entry);
    std::memcpy(at, &disk, sizeof disk);
    at += sizeof disk;
  }
  IndexHead head{};
  head.entries = htole32(static_cast<std::uint32_t>(index.entries.size()));
  head.previous = htole64(index.previous ? *index.previous + 1 : 0);
  head.payload_after = htole64(index.payload_after);
  std::memcpy(block.data() + head_at, &head, sizeof head);
  head.crc = htole32(index_crc(block));
  std::memcpy(block.data() + head_at, &head, sizeof head);
}

Result<IndexBlock> decode_index(std::span<const std::byte, journal_block> block,
                                const Uuid& journal, std::uint64_t position) {
  const auto info = check_batch(block, journal);
  if (!info) return info.error();
  if (info->kind != BatchKind::index || info->position != position)
    return bad_index(fmt::format("there is none at position {}", position));
  IndexHead head;
  std::memcpy(&head, block.data() + head_at, sizeof head);
  if (const auto wanted = index_crc(block); le32toh(head.crc) != wanted)
    return bad_index(
        fmt::format("checksum is {:#010x}, wanted {:#010x}", le32toh(head.crc), wanted));
  const std::size_t entries = le32toh(head.entries);
  if (entries > index_entries_max)
    return bad_index(fmt::format("{} entries, at most {} are allowed", entries, index_entries_max));
  IndexBlock index;
  if (const std::uint64_t previous = le64toh(head.previous); previous != 0)
    index.previous = previous - 1;
  index.payload_after = le64toh(head.payload_after);
  for (std::size_t i = 0; i < entries; ++i) {
    IndexEntryDisk disk;
    std::memcpy(&disk, block.data() + entries_at + i * sizeof disk, sizeof disk);
    index.entries.push_back(from_disk(disk));
  }
  if (auto ok = check_order(index, position); !ok) return ok.error();
  return index;
}

}  // namespace cascade
