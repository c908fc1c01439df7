// SPDX-License-Identifier: GPL-2.0-or-later
//
// The journal on a device or file: two superblocks, then a circle of batches.
//
//   0         256 KiB   512 KiB       1 MiB                      data_offset + data_bytes
//   | super A | super B | dirty maps  | batch | batch | ... | skip |
//
//   batch := BatchHeader (128 bytes) Record* pad-to-4096 payload* pad-to-4096
//
// Positions are free-running: byte P of the circle is at data_offset + P % data_bytes, so a
// batch knows its lap and an old lap is never taken for a new one. A batch never wraps: where
// it does not fit before the end, a skip batch (no records) covers the rest.
//
//   tail_position                         head
//   ---|====== batches still needed ======|------ free ------   (both grow; head - tail <=
//   data_bytes)
//
// A batch is valid at a position if its header's own checksum, journal, position and epoch fit,
// its number is the next one, and previous_crc is its predecessor's header_crc. Batches written
// together may reach the disk in any order; durable_number says which ones were known to be stable
// when this one was written. So what ends the journal is told apart from what damages it:
// a bad batch N is a torn tail unless a valid batch of the same epoch says durable_number >= N.
//
// All little endian.
#pragma once

#include "lib/base/limits.hpp"
#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"
#include "lib/format/history.hpp"
#include "lib/format/record.hpp"
#include "lib/journal/places.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>

namespace cascade {

inline constexpr std::size_t journal_block = 4096;
inline constexpr std::size_t superblock_bytes = 256 * 1024;
inline constexpr std::uint64_t journal_data_offset = 1024 * 1024;
inline constexpr std::uint64_t journal_data_bytes_min = 16 * 1024 * 1024;
inline constexpr std::uint64_t superblock_magic = 0x4c4e524a43534143;  // "CASCJRNL"
inline constexpr std::uint32_t batch_magic = 0x42435343;               // "CSCB"
/// Another major version is another format. A higher minor one may use reserved room and optional
/// capabilities; whoever does not know them ignores them. Nobody opens a journal with a required
/// capability that he does not know.
inline constexpr std::uint16_t journal_major = 2;
inline constexpr std::uint16_t journal_minor = 0;
/// Required while a volume is detached or left behind: whoever opens it has to know of brackets.
inline constexpr std::uint64_t journal_required_brackets = 1;
/// Required once numbers were jumped over.
inline constexpr std::uint64_t journal_required_gaps = 2;
/// Required while the remote is behind by more than the journal holds.
inline constexpr std::uint64_t journal_required_behind = 4;
/// Required while copies have gone past the limit of the open bracket.
inline constexpr std::uint64_t journal_required_past = 8;
/// Required while an index may stand in the circle.
inline constexpr std::uint64_t journal_required_index = 16;
/// Required while a takeover as of an earlier moment is on its way: whoever goes on with it has to
/// know where it ends.
inline constexpr std::uint64_t journal_required_moment = 64;
/// Required once the group was taken over here: the copies are not the journal's any more.
inline constexpr std::uint64_t journal_required_takeover = 32;
/// Required once this node has granted something as its group's witness: whoever opens it has to
/// keep to that.
inline constexpr std::uint64_t journal_required_grants = 128;
inline constexpr std::uint64_t journal_required_known =
    journal_required_brackets | journal_required_gaps | journal_required_behind |
    journal_required_past | journal_required_index | journal_required_takeover |
    journal_required_moment | journal_required_grants;
/// SuperblockDisk.takeover_flags: every volume's newest write, instead of an image of one moment.
inline constexpr std::uint32_t takeover_newest = 1;

/// First 512 bytes of a superblock copy; `volumes` VolumeEntry follow, then `grants` GrantEntry.
/// The copy with the higher generation wins if both are valid; they are written in turn, never both
/// at once.
struct SuperblockDisk {
  std::uint64_t magic;          // superblock_magic
  std::uint16_t major;          // journal_major
  std::uint16_t minor;          // journal_minor
  std::uint32_t crc;            // CRC-32C of all superblock_bytes with this field zero
  std::uint8_t group[16];       // UUID of the consistency group
  std::uint8_t journal[16];     // UUID of this journal, new at each format
  std::uint64_t generation;     // grows by one at each write of a superblock
  std::uint64_t data_offset;    // bytes from the start of the device
  std::uint64_t data_bytes;     // size of the circle, a multiple of journal_block
  std::uint64_t epoch;          // grows by one at each opening for writing
  std::uint64_t epoch_number;   // batches before it are stable; those from it on carry this epoch
  std::uint64_t tail_position;  // free-running position of the first batch still needed
  std::uint64_t tail_number;    // its batch number
  std::uint64_t tail_seq;       // group_seq of its first record
  std::uint64_t
      applied_seq;  // the copies hold, on stable storage, everything through this group_seq
  std::uint64_t
      limit_seq;  // a bracket is open: nothing past this group_seq may be applied; ~0: none
  std::uint32_t tail_previous_crc;  // header_crc of the batch before the tail; 0 for the first
  std::uint32_t clean;              // 1: closed in order, the circle ends where the superblock says
  std::uint32_t volumes;            // VolumeEntry that follow
  std::uint32_t entry_bytes;        // size of a VolumeEntry
  std::uint64_t required;           // capability bits without which this journal can't be read
  std::uint64_t optional;           // capability bits that are in use and may be ignored
  std::uint64_t stored_seq;         // last group_seq on stable storage when this was written
  std::uint64_t tail_history;       // history hash before tail_seq
  std::uint8_t follower[16];        // hub: id of the remote's journal; zero: none has followed yet
  std::uint64_t gap_seq;            // remote: last group_seq that was jumped over and has not been
                                    // made up for; zero: none
  std::uint64_t behind_map;         // hub: the dirty bitmap of the remote; zero: it is not behind
  std::uint64_t behind_seq;         // hub: what the remote held for certain when it fell behind
  std::uint64_t behind_history;     // hub: history hash through behind_seq
  std::uint64_t behind_time_ns;     // hub: when it took the first write that the remote lacks,
                                    // CLOCK_REALTIME
  std::uint64_t past_limit;         // one more than the limit_seq that the copies have gone past,
                                    // with or without undo; zero: none
  std::uint64_t index;              // one more than the position of the last index in the circle;
                                    // zero: none
  std::uint8_t takeover[16];        // generation that a takeover on this node gave the group;
                                    // zero: the node follows
  std::uint64_t takeover_time_ns;   // when that was decided, CLOCK_REALTIME
  std::uint64_t takeover_seq;       // one more than the group_seq that the copies were handed over
                                    // as of; zero: they are on the way there
  std::uint32_t takeover_flags;     // takeover_newest; unknown ones are ignored
  std::uint32_t flags;              // superblock_rejoins; unknown ones are ignored
  std::uint64_t gap_first;          // remote: first group_seq that was jumped over then; zero: none
  std::uint64_t applied_time_ns;    // when this node took in what applied_seq is, CLOCK_REALTIME;
                                    // zero: not known
  std::uint64_t takeover_at_ns;     // with `takeover`: what was taken in after this stays out,
                                    // CLOCK_REALTIME; zero: nothing does
  std::uint8_t petition[16];        // by which this node has asked the witness, and may have been
                                    // granted a promotion that it has not decided; or zero
  std::uint8_t granted[16];         // witness: the petition by which a promotion was asked for, or
                                    // withdrawn, last; or zero
  std::uint64_t granted_time_ns;    // witness: when it granted something last, CLOCK_REALTIME
  std::uint32_t grants;             // GrantEntry that follow
  std::uint32_t reserved0;          // zero
  std::uint8_t reserved[152];       // zero; ignored by readers of this minor version
};
static_assert(sizeof(SuperblockDisk) == 512 && offsetof(SuperblockDisk, generation) == 48 &&
              offsetof(SuperblockDisk, required) == 144 &&
              offsetof(SuperblockDisk, gap_seq) == 192 &&
              offsetof(SuperblockDisk, takeover) == 248 &&
              offsetof(SuperblockDisk, gap_first) == 288 &&
              offsetof(SuperblockDisk, takeover_at_ns) == 304 &&
              offsetof(SuperblockDisk, grants) == 352);

/// The journal was made anew by somebody who gave up what the one before held: whoever is upstream
/// may compare the copies with its own, and overwrite them. Says nothing once there is a write.
inline constexpr std::uint32_t superblock_rejoins = 1;

/// How far a volume was when the superblock was written. 96 bytes.
struct VolumeEntry {
  std::uint8_t volume[16];
  std::uint64_t volume_seq;      // its last write on stable storage
  std::uint8_t incarnation[16];  // of the ring that this came from; zero: not known
  std::uint8_t generation[16];   // the history of the volume that the copy is of; zero: not known
  std::uint64_t copy_device;     // XXH3 of what names the copy's device; zero: not known
  std::uint64_t copy_bytes;      // size of the copy's device; zero: not known
  std::uint32_t flags;           // volume_dropped, volume_leased; unknown ones are ignored
  std::uint32_t mark;            // CASCADE_MARK() of its last MARK; zero: it stands in the order
  std::uint64_t mark_time_ns;    // when the hub made that, CLOCK_REALTIME
  std::uint64_t volume_bytes;  // hub: the volume's size, as its primary last said; zero: not known
};
/// Writes of the volume were left out of the copy, because it was not in the configuration.
inline constexpr std::uint32_t volume_dropped = 1;
/// Hub: the volume's primary has been given a lease, and may go on alone when that has run out.
inline constexpr std::uint32_t volume_leased = 2;
static_assert(sizeof(VolumeEntry) == 96 && offsetof(VolumeEntry, copy_device) == 56 &&
              offsetof(VolumeEntry, mark_time_ns) == 80 &&
              offsetof(VolumeEntry, volume_bytes) == 88);

/// From which generations of a volume a witness has let somebody part. 56 bytes.
struct GrantEntry {
  std::uint32_t volume;        // its VolumeEntry, the first is 0
  std::uint32_t reserved0;     // zero
  std::uint8_t alone[16];      // its primary, to go on alone; zero: none
  std::uint8_t petition[16];   // by which that was asked, or withdrawn, last
  std::uint8_t promotion[16];  // the hub, to be promoted; zero: none
};
static_assert(sizeof(GrantEntry) == 56 && offsetof(GrantEntry, alone) == 8);

/// The volumes of a full configuration, and as many that were taken out of it and still have writes
/// in the journal.
inline constexpr std::size_t superblock_volumes_max = 2 * limits::group_volumes_max;
/// Those of configured volumes.
inline constexpr std::size_t superblock_grants_max = limits::group_volumes_max;
static_assert(sizeof(SuperblockDisk) + superblock_volumes_max * sizeof(VolumeEntry) +
                  superblock_grants_max * sizeof(GrantEntry) <=
              superblock_bytes);

/// Opens a batch. 128 bytes, records follow at once.
struct BatchHeader {
  std::uint32_t magic;           // batch_magic
  std::uint16_t major;           // journal_major
  std::uint16_t kind;            // BatchKind
  std::uint32_t header_crc;      // CRC-32C of header (this field zero) and records
  std::uint32_t records;         // number of records; zero for a skip
  std::uint32_t payload_bytes;   // sum of the records' payloads
  std::uint32_t blocks;          // size on disk in journal_block, header and padding included
  std::uint8_t journal[16];      // UUID of the journal
  std::uint64_t epoch;           // SuperblockDisk.epoch when it was written
  std::uint64_t number;          // of this batch; gapless, the first is 1
  std::uint64_t position;        // free-running position where it was written
  std::uint64_t first_seq;       // group_seq of its first record; of the next record for a skip
  std::uint64_t durable_number;  // batches through this number were stable when it was written
  std::uint64_t append_time_ns;  // CLOCK_REALTIME of this node, for lag and for rewind by time
  std::uint32_t previous_crc;    // header_crc of batch number - 1; 0 for the first
  std::uint32_t reserved0;       // zero
  std::uint64_t history;         // history hash before its first record; for a skip: of the next
  std::uint8_t reserved[24];     // zero; ignored by readers of this minor version
};
static_assert(sizeof(BatchHeader) == 128 && offsetof(BatchHeader, journal) == 24 &&
              offsetof(BatchHeader, epoch) == 40 && offsetof(BatchHeader, history) == 96);

/// A jump is one block without records: first_seq and history are those of the next record, and
/// what lies between the one before and that is not in this journal. An index is one block without
/// records, too: index_block.hpp.
enum class BatchKind : std::uint16_t { data = 1, skip = 2, jump = 3, index = 4 };

/// Hub: the remote lacks writes that the journal does not hold any more.
struct RemoteBehind {
  std::uint64_t map = 0;  // its dirty bitmap (dirty_map.hpp), by number; zero: it is not behind
  std::uint64_t seq = 0;  // what it held for certain when it fell behind
  History history = 0;    // through `seq`
  std::uint64_t since_ns = 0;  // when this node took the first write it lacks, CLOCK_REALTIME
  bool operator==(const RemoteBehind&) const = default;
};

/// The group was promoted on this node: the copies become devices that anybody may write, and the
/// journal takes nothing more.
struct Takeover {
  Uuid generation{};                   // of every volume from then on; nil: the node follows
  std::uint64_t time_ns = 0;           // when it was decided, CLOCK_REALTIME
  bool newest = false;                 // every volume's newest write, though no image of one moment
  std::optional<std::uint64_t> seq{};  // group_seq that the copies were handed over as of; none:
                                       // they are on the way there
  std::uint64_t at_ns = 0;  // what this node took in after that stays out, CLOCK_REALTIME; 0: none
  bool decided() const { return generation != Uuid{}; }
  bool done() const { return seq.has_value(); }
  bool operator==(const Takeover&) const = default;
};

/// What the copies of a node hold when its journal is made: of each volume the last write
/// (volume_seq), the generation and the size. Nothing of a volume that is not in it.
using Beginning = std::map<Uuid, VolumePlace>;

/// What a superblock says, in host order.
struct Superblock {
  Uuid group;
  Uuid journal;
  std::uint64_t generation = 0;
  std::uint64_t data_offset = journal_data_offset;
  std::uint64_t data_bytes = 0;
  std::uint64_t epoch = 0;
  std::uint64_t epoch_number = 1;
  std::uint64_t tail_position = 0;
  std::uint64_t tail_number = 1;
  std::uint64_t tail_seq = 1;
  std::uint64_t applied_seq = 0;
  std::uint64_t limit_seq = no_limit;
  std::uint32_t tail_previous_crc = 0;
  bool clean = true;
  std::uint64_t optional = 0;  // as read; a journal is written with what this program knows
  std::uint64_t stored_seq = 0;
  History tail_history = 0;
  Uuid follower{};
  std::uint64_t gap_first = 0;
  std::uint64_t gap_seq = 0;
  bool jumped = false;  // a jump may stand in the circle
  RemoteBehind behind{};
  std::optional<std::uint64_t> past_limit{};  // the copies may hold what stands behind this
  bool indexed = false;                       // an index may stand in the circle; with `index`, too
  std::optional<std::uint64_t> index{};       // position of the last one
  std::uint64_t applied_time_ns = 0;
  Takeover takeover{};
  bool rejoins = false;  // superblock_rejoins
  Uuid petition{};
  Uuid granted{};
  std::uint64_t granted_time_ns = 0;
  std::map<Uuid, VolumePlace> volumes;  // without their group_seq
};

/// A fresh journal for a device of `device_bytes`; Errc::invalid if that is too small.
Result<Superblock> format_superblock(const Uuid& group, std::uint64_t device_bytes);

/// Of a fresh journal. Two nodes that begin with the same may follow one another: their histories
/// are the same.
void begin_with(Superblock& sb, const Beginning& beginning);

/// What the copies of a node hold of the group, by its journal: Errc::refused unless that was
/// closed in order, all of it is in the copies, and they are an image of one moment.
Result<Beginning> held_by_copies(const Superblock& sb);

/// Fills all of `out`. Needs volumes.size() <= superblock_volumes_max.
void encode_superblock(const Superblock& sb, std::span<std::byte, superblock_bytes> out);

/// Checks magic, checksum, version, bounds. Errc::corrupt, Errc::version; Errc::not_found when
/// there is no magic at all ("not a journal").
Result<Superblock> decode_superblock(std::span<const std::byte, superblock_bytes> in);

/// Offset of the copy that a superblock of this generation is written to.
constexpr std::uint64_t superblock_offset(std::uint64_t generation) {
  return (generation % 2) * superblock_bytes;
}

/// Picks the newest valid copy, then checks that it is this group's and that it fits the device.
/// Errors name the device by `path`: Errc::not_found, corrupt, version, foreign, invalid
/// (truncated).
Result<Superblock> choose_superblock(const Result<Superblock>& a, const Result<Superblock>& b,
                                     const Uuid& group, std::uint64_t device_bytes,
                                     const std::string& path);

/// Bytes of header and records, padded to blocks; and of the whole batch.
constexpr std::size_t batch_head_bytes(std::size_t records) {
  return (sizeof(BatchHeader) + records * sizeof(Record) + journal_block - 1) / journal_block *
         journal_block;
}
constexpr std::size_t batch_bytes(std::size_t records, std::size_t payload_bytes) {
  return batch_head_bytes(records) +
         (payload_bytes + journal_block - 1) / journal_block * journal_block;
}

/// Where a batch sits and what it holds, in host order.
struct BatchInfo {
  BatchKind kind = BatchKind::data;
  std::uint32_t records = 0;
  std::uint32_t payload_bytes = 0;
  std::uint64_t bytes = 0;  // on disk
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;
  std::uint64_t position = 0;
  std::uint64_t first_seq = 0;
  std::uint64_t durable_number = 0;
  std::uint64_t append_time_ns = 0;
  std::uint32_t previous_crc = 0;
  History history = 0;           // before the first record
  std::uint32_t header_crc = 0;  // set by encode and decode
};

/// Writes header and records' checksum into `head`, whose records already stand behind the first
/// 128 bytes and whose padding is zero. Returns header_crc.
std::uint32_t seal_batch(const BatchInfo& info, const Uuid& journal, std::span<std::byte> head);

/// Whether a block begins like a batch at all: a cheap look before peek_batch().
bool begins_like_batch(std::span<const std::byte> block);

/// Checks one block's header fields alone: magic, version, kind, bounds, journal. Enough to know
/// how much more to read. Errc::corrupt.
Result<BatchInfo> peek_batch(std::span<const std::byte> block, const Uuid& journal);

/// Checks batch_head_bytes() of a batch: peek, header checksum, each record. Errc::corrupt.
Result<BatchInfo> check_batch_head(std::span<const std::byte> head, const Uuid& journal);

/// Checks a whole batch: its head, and each payload. Errc::corrupt.
Result<BatchInfo> check_batch(std::span<const std::byte> batch, const Uuid& journal);

/// The records of a checked batch and its payload area; views into `batch`.
std::span<const Record> batch_records(std::span<const std::byte> batch, const BatchInfo& info);
std::span<const std::byte> batch_payload(std::span<const std::byte> batch, const BatchInfo& info);

}  // namespace cascade
