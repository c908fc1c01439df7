// SPDX-License-Identifier: GPL-2.0-or-later
//
// The record of kmod/uapi/dm_cascade.h as C++ sees it: read, check, number. It is the same 64
// bytes in ring, wire and journal, so there is no second type and no translation.
#pragma once

#include "kmod/uapi/dm_cascade.h"
#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"

#include <endian.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace cascade {

using Record = cascade_record;

static_assert(sizeof(Record) == CASCADE_RECORD_BYTES && alignof(Record) == 8);
static_assert(std::is_trivially_copyable_v<Record> && std::is_standard_layout_v<Record>);
static_assert(offsetof(Record, record_crc) == 0);
static_assert(offsetof(Record, version) == 4);
static_assert(offsetof(Record, op) == 5);
static_assert(offsetof(Record, flags) == 6);
static_assert(offsetof(Record, reserved) == 7);
static_assert(offsetof(Record, volume) == 8);
static_assert(offsetof(Record, sector) == 24);
static_assert(offsetof(Record, length) == 32);
static_assert(offsetof(Record, payload_crc) == 36);
static_assert(offsetof(Record, volume_seq) == 40);
static_assert(offsetof(Record, group_seq) == 48);
static_assert(offsetof(Record, primary_time_ns) == 56);

inline std::uint64_t sector_of(const Record& r) { return le64toh(r.sector); }
inline std::uint32_t length_of(const Record& r) { return le32toh(r.length); }
inline std::uint64_t volume_seq_of(const Record& r) { return le64toh(r.volume_seq); }
inline std::uint64_t group_seq_of(const Record& r) { return le64toh(r.group_seq); }
inline std::uint64_t primary_time_ns_of(const Record& r) { return le64toh(r.primary_time_ns); }
Uuid volume_of(const Record& r);

/// Whether a copy of the volume is another one after it, in the record's range.
inline bool changes_copy(const Record& r) {
  return r.op == CASCADE_OP_WRITE || r.op == CASCADE_OP_WRITE_ZEROES || r.op == CASCADE_OP_DISCARD;
}

/// Bytes of payload that follow this record: its length for a WRITE, otherwise zero.
inline std::size_t payload_bytes_of(const Record& r) {
  return r.op == CASCADE_OP_WRITE ? length_of(r) : 0;
}

/// Whether the record's range, if it has one, lies inside a device of `bytes`; never wraps.
bool inside(const Record& r, std::uint64_t bytes);

/// Everything that can be wrong with a record by itself: checksum, version, operation, flags,
/// reserved byte, length, sequence. Errc::corrupt or Errc::version; the text names got and wanted.
Result<void> check_record(const Record& r);

/// Whether `payload` is the one the record was made with.
bool payload_matches(const Record& r, std::span<const std::byte> payload);

/// Renew record_crc after filling a field.
void seal(Record& r);

/// What the hub says of a volume, at its clock's `time_ns`; set_group_seq() makes it whole.
Record make_mark(const Uuid& volume, cascade_mark mark, cascade_mark_why why,
                 std::uint64_t time_ns);

/// What the group's remote was not sent in order, through group_seq `through`, has been copied to
/// it.
Record make_caught_up(const Uuid& group, std::uint64_t through, std::uint64_t time_ns);

/// What the hub's copy holds at `sector`, to be copied to the remote: `bytes` of payload, or
/// zeroes. It changes nothing of what the volume is known to have sent, through `volume_seq`.
/// set_group_seq() makes it whole.
Record make_copy(const Uuid& volume, std::uint64_t sector, std::span<const std::byte> bytes,
                 std::uint64_t volume_seq, std::uint64_t time_ns);

/// The hub's step: give the record its place in the group's order, and seal it.
void set_group_seq(Record& r, std::uint64_t group_seq);

}  // namespace cascade
