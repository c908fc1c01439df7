// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/format/record.hpp"

#include "lib/base/checksum.hpp"
#include "lib/base/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace cascade {
namespace {

std::uint32_t computed_crc(const Record& r) {
  return crc32c(std::as_bytes(std::span(&r, 1)).subspan(sizeof r.record_crc));
}

Error corrupt(const Record& r, std::string what) {
  return Error{Errc::corrupt, fmt::format("record of write {}: {}", volume_seq_of(r), what)};
}

bool known_op(std::uint8_t op) { return op >= CASCADE_OP_WRITE && op <= CASCADE_OP_VERIFY; }

bool has_range(const Record& r) { return changes_copy(r) || r.op == CASCADE_OP_VERIFY; }

/// What is compared is read into memory, as a payload is.
std::uint32_t length_max(std::uint8_t op) {
  return op == CASCADE_OP_WRITE || op == CASCADE_OP_VERIFY ? limits::record_payload_bytes_max
                                                           : limits::record_length_max;
}

Result<void> check_range(const Record& r) {
  const std::uint32_t length = length_of(r);
  if (!has_range(r)) {
    if (length == 0) return {};
    return corrupt(r,
                   fmt::format("operation {} has a length of {} bytes, wanted none", r.op, length));
  }
  if (length == 0 || length % CASCADE_SECTOR_BYTES != 0 || length > length_max(r.op))
    return corrupt(r, fmt::format("length is {} bytes, wanted a multiple of {} up to {}", length,
                                  CASCADE_SECTOR_BYTES, length_max(r.op)));
  if (sector_of(r) >= CASCADE_SEQ_MAX)
    return corrupt(r, fmt::format("sector {} is beyond any device", sector_of(r)));
  return {};
}

/// The hub's own word has a place in the group's order only.
Result<void> check_mark(const Record& r) {
  const auto mark = CASCADE_MARK_OF(sector_of(r)), why = CASCADE_WHY_OF(sector_of(r));
  const bool of_volume = mark != CASCADE_MARK_CAUGHT_UP;
  if ((of_volume && volume_seq_of(r) != 0) || volume_seq_of(r) >= CASCADE_SEQ_MAX ||
      group_seq_of(r) == 0 || group_seq_of(r) >= CASCADE_SEQ_MAX)
    return corrupt(r, "a mark has a place in the group's order, and none in its volume's");
  if (mark < CASCADE_MARK_DETACHED || mark > CASCADE_MARK_CAUGHT_UP || why < CASCADE_WHY_RESEND ||
      why > CASCADE_WHY_RESYNC)
    return corrupt(r, fmt::format("mark {:#x} is not known", sector_of(r)));
  if (length_of(r) != 0) return corrupt(r, "a mark has a length");
  return {};
}

}  // namespace

Uuid volume_of(const Record& r) {
  Uuid uuid;
  std::memcpy(uuid.data, r.volume, sizeof uuid.data);
  return uuid;
}

Result<void> check_record(const Record& r) {
  if (const auto wanted = computed_crc(r); le32toh(r.record_crc) != wanted)
    return Error{Errc::corrupt, fmt::format("record checksum is {:#010x}, wanted {:#010x}",
                                            le32toh(r.record_crc), wanted)};
  if (r.version != CASCADE_RECORD_VERSION)
    return Error{Errc::version, fmt::format("record version is {}, this program reads {}",
                                            r.version, CASCADE_RECORD_VERSION)};
  if (!known_op(r.op)) return corrupt(r, fmt::format("operation {} is not known", r.op));
  if ((r.flags & ~CASCADE_FLAGS_KNOWN) != 0)
    return corrupt(r, fmt::format("flags {:#04x} are not known", r.flags));
  if (r.reserved != 0) return corrupt(r, "a reserved byte is not zero");
  if ((r.flags & CASCADE_FLAG_NOUNMAP) != 0 && r.op != CASCADE_OP_WRITE_ZEROES)
    return corrupt(r, "only zeroes can be asked to stay allocated");
  if (r.op == CASCADE_OP_VERIFY && r.flags != 0)
    return corrupt(r, fmt::format("a comparison has flags {:#04x}, wanted none", r.flags));
  if (r.op == CASCADE_OP_MARK) return check_mark(r);
  const std::uint64_t seq = volume_seq_of(r);
  // The hub may copy a region of a volume of which it has no write.
  const bool copied = (r.flags & CASCADE_FLAG_RESYNC) != 0 && group_seq_of(r) != 0;
  if ((seq == 0 && !copied) || seq >= CASCADE_SEQ_MAX || group_seq_of(r) >= CASCADE_SEQ_MAX)
    return corrupt(r, "a sequence number is out of bounds");
  return check_range(r);
}

bool inside(const Record& r, std::uint64_t bytes) {
  if (!has_range(r)) return true;
  const std::uint64_t sectors = bytes / CASCADE_SECTOR_BYTES;
  return sector_of(r) <= sectors && length_of(r) / CASCADE_SECTOR_BYTES <= sectors - sector_of(r);
}

bool payload_matches(const Record& r, std::span<const std::byte> payload) {
  if (payload.size() != payload_bytes_of(r)) return false;
  if (payload.empty()) return r.payload_crc == 0 || r.op == CASCADE_OP_VERIFY;
  return le32toh(r.payload_crc) == crc32c(payload);
}

void seal(Record& r) { r.record_crc = htole32(computed_crc(r)); }

Record make_mark(const Uuid& volume, cascade_mark mark, cascade_mark_why why,
                 std::uint64_t time_ns) {
  Record r{};
  r.version = CASCADE_RECORD_VERSION;
  r.op = CASCADE_OP_MARK;
  std::memcpy(r.volume, volume.data, sizeof r.volume);
  r.sector = htole64(CASCADE_MARK(mark, why));
  r.primary_time_ns = htole64(time_ns);
  return r;
}

Record make_caught_up(const Uuid& group, std::uint64_t through, std::uint64_t time_ns) {
  Record r = make_mark(group, CASCADE_MARK_CAUGHT_UP, CASCADE_WHY_RESYNC, time_ns);
  r.volume_seq = htole64(through);
  return r;
}

Record make_copy(const Uuid& volume, std::uint64_t sector, std::span<const std::byte> bytes,
                 std::uint64_t volume_seq, std::uint64_t time_ns) {
  const bool zeroes =
      std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
  Record r{};
  r.version = CASCADE_RECORD_VERSION;
  r.op = zeroes ? CASCADE_OP_WRITE_ZEROES : CASCADE_OP_WRITE;
  r.flags = CASCADE_FLAG_RESYNC;
  std::memcpy(r.volume, volume.data, sizeof r.volume);
  r.sector = htole64(sector);
  r.length = htole32(static_cast<std::uint32_t>(bytes.size()));
  r.payload_crc = zeroes ? 0 : htole32(crc32c(bytes));
  r.volume_seq = htole64(volume_seq);
  r.primary_time_ns = htole64(time_ns);
  return r;
}

void set_group_seq(Record& r, std::uint64_t group_seq) {
  r.group_seq = htole64(group_seq);
  seal(r);
}

}  // namespace cascade
