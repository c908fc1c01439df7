// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hop envelope: what a TCP session between two nodes carries around the records.
//
//   session := HELLO -> , <- WELCOME | REFUSE , then (DATA | PACKED)* HEARTBEAT* ASK* ->  and
//              <- ACK* HEARTBEAT* REPORT* SUMS* VERIFIED*
//   frame   := FrameHeader (32 bytes) body (FrameHeader.length bytes)
//
//   HELLO   body := HelloBody HelloEntry*      "this is what I can send, from where on"
//   WELCOME body := WelcomeBody AnswerEntry*   "this is what I have; go on after it, or why not"
//   DATA    body := Record* payload*           payloads in the order of their records, no gaps
//   PACKED  body := PackedHead compressed      the body of a DATA frame
//   ACK     body := AckEntry*                  cumulative
//   HEARTBEAT    := empty
//   REPORT  body := ReportBody                 how the receiver is, for whoever asks the sender
//   ASK     body := AskEntry*                  "what does your copy hold there?"
//   SUMS    body := SumEntry*                  one for each that was asked, in that order
//   VERIFIED body := VerifiedBody VerifiedRange*   what a comparison has found so far
//   REFUSE  body := RefuseBody text            from either side; then the sender closes
//
// All little endian. A length is checked against limits.hpp before a byte of the body is read.
// FORMAT.md shows worked bytes.
//
// Versions. Another major version is another protocol. A higher minor one may add optional
// capabilities, use reserved room, and lengthen the heads and entries of hello and welcome, which
// carry their own sizes: a reader takes the part that it knows. A required capability that it does
// not know makes it refuse the session, by number.
#pragma once

#include "kmod/uapi/dm_cascade_meta.h"
#include "lib/base/limits.hpp"
#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"
#include "lib/format/content_sum.hpp"
#include "lib/format/record.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cascade {

inline constexpr std::uint32_t frame_magic = 0x46435343;  // "CSCF" as bytes on the wire
inline constexpr std::uint8_t frame_major = 2;
inline constexpr std::uint8_t frame_minor = 1;
/// Required capabilities, a bit each. Marks: brackets are in what is shipped, and are respected.
inline constexpr std::uint64_t capability_marks = 1;
/// Gaps: what lies before the first number offered comes as copies of regions.
inline constexpr std::uint64_t capability_gaps = 2;
inline constexpr std::uint64_t required_known = capability_marks | capability_gaps;
/// Optional ones, likewise. Reports: the sender of the hello takes REPORT frames.
inline constexpr std::uint64_t optional_reports = 1;
/// Packed: the sender of the welcome takes PACKED frames of every codec of this version.
inline constexpr std::uint64_t optional_packed = 2;
/// Sums: the sender of the welcome answers ASK frames.
inline constexpr std::uint64_t optional_sums = 4;
/// Rejoins: the sender of the welcome has given up what it held (`dmcascade rejoin`), and asks to
/// be compared and filled. Else a journal that is another one than before is refused.
inline constexpr std::uint64_t optional_rejoins = 8;
/// Verify: the sender of the welcome takes VERIFY records; the sender of the hello takes VERIFIED
/// frames.
inline constexpr std::uint64_t optional_verify = 16;

enum class FrameType : std::uint16_t {
  hello = 1,
  welcome = 2,
  data = 3,
  ack = 4,
  heartbeat = 5,
  refuse = 6,
  report = 7,
  packed = 8,
  ask = 9,
  sums = 10,
  verified = 11,
};

/// Opens every frame. 32 bytes.
struct FrameHeader {
  std::uint32_t magic;     // frame_magic
  std::uint8_t major;      // frame_major
  std::uint8_t minor;      // frame_minor, or a higher one
  std::uint16_t type;      // FrameType
  std::uint32_t length;    // bytes of body
  std::uint32_t records;   // DATA, PACKED: records in the body; otherwise zero
  std::uint64_t tally;     // a running number that each kind of session has its own of, see below
  std::uint32_t body_crc;  // CRC-32C of the body; DATA: of its records only, payloads carry theirs
  std::uint32_t header_crc;  // CRC-32C of bytes 0 to 27
};
static_assert(sizeof(FrameHeader) == 32 && offsetof(FrameHeader, tally) == 16 &&
              offsetof(FrameHeader, header_crc) == 28);

// FrameHeader.tally:
//   ship, hub to remote     group_seq that is durable at the hub
//   mirror, hub to primary  number of the lease's renewal; the welcome is number 1
//   mirror, primary to hub  last renewal that all volumes of the session have taken
//   else                    zero

enum class SessionKind : std::uint32_t {
  mirror = 1,  // primary to hub: an entry a volume, numbers are volume_seq
  ship = 2,    // hub to remote: the group's entry, numbers are group_seq; then one a volume, which
               // tells of it and offers nothing
  petition = 3,  // to the witness: the group's entry, whose generation names the petition; then one
                 // a volume, with the generation that the sender asks to part from. Nothing is
                 // offered. The welcome grants or refuses each, and ends it.
};

/// Who opens a session and for which group. 128 bytes, entries follow.
struct HelloBody {
  std::uint8_t group[16];     // UUID of the consistency group
  char node[32];              // name of the sender in the configuration, NUL padded
  std::uint32_t kind;         // SessionKind
  std::uint32_t entries;      // HelloEntry that follow
  std::uint16_t head_bytes;   // size of this head
  std::uint16_t entry_bytes;  // size of each entry
  std::uint32_t reserved0;    // zero
  std::uint64_t required;     // capabilities that the receiver must know
  std::uint64_t optional;     // capabilities that the sender knows
  std::uint8_t journal[16];   // ship: id of the sender's journal; mirror: zero
  std::uint8_t reserved[32];  // zero; ignored by readers of this minor version
};
static_assert(sizeof(HelloBody) == 128 && offsetof(HelloBody, required) == 64 &&
              offsetof(HelloBody, journal) == 80);

/// What the sender can send of one stream, and what it knows of it. 160 bytes; 128 by 2.0.
struct HelloEntry {
  std::uint8_t stream[16];  // UUID of the volume, or of the group
  std::uint64_t first;      // first number that it can still send
  std::uint64_t last;       // last number that it has now; first - 1 when it has none
  std::uint32_t flags;      // hello_fresh ...
  std::uint32_t block;      // volume: logical block of the primary's device in bytes; 0: not known
  std::uint64_t bytes;      // volume: its size; 0: not known
  std::uint8_t generation[16];   // volume: which history of it; zero: not known
  std::uint8_t incarnation[16];  // mirror: of the ring; zero: not known
  std::uint64_t history;         // ship, with hello_gap: history hash through first - 1
  std::uint8_t hub_ack;          // mirror: 1 sync, 2 memory-sync: what completes a write there
  std::uint8_t differs;          // mirror: CASCADE_DIFFERS_*: why the hub's copy may differ
  std::uint8_t fence;            // mirror: cascade_fence; zero: not said, as by 2.0: data
  std::uint8_t reserved0[5];     // zero
  std::uint64_t end_seq;       // mirror: where the ring before ended, if clean; else at least there
  std::uint8_t journal[16];    // mirror: of the hub that it was last with; zero: with none yet
  std::uint64_t out_of_sync;   // mirror: sectors that have to be copied before the copies are equal
  std::uint8_t parent[16];     // mirror: generation that `generation` parted from; zero: none
  std::uint8_t reserved1[16];  // zero; ignored by readers of this minor version
};
inline constexpr std::size_t hello_entry_bytes_min = 128;
static_assert(sizeof(HelloEntry) == 160 && offsetof(HelloEntry, parent) == hello_entry_bytes_min &&
              offsetof(HelloEntry, bytes) == 40 && offsetof(HelloEntry, history) == 80 &&
              offsetof(HelloEntry, hub_ack) == 88 && offsetof(HelloEntry, end_seq) == 96 &&
              offsetof(HelloEntry, journal) == 104);

/// Bits of HelloEntry.flags; unknown ones are ignored.
/// mirror: the ring has not been numbered yet, first and last are zero.
inline constexpr std::uint32_t hello_fresh = 1;
/// ship: the volume is not configured any more, its last writes may still come. mirror: its ring
/// has ended in order with `last`, stored at the receiver; nothing is offered.
inline constexpr std::uint32_t hello_leaving = 2;
/// mirror: the metadata area says that the ring before this one ended in order, with end_seq.
inline constexpr std::uint32_t hello_clean = 4;
/// ship, the group's stream: a receiver that lacks what lies before `first` may go on behind it, in
/// a bracket, and gets copies of what it lacks.
inline constexpr std::uint32_t hello_gap = 16;
/// mirror: it says that the volume has written with a hub before this ring.
inline constexpr std::uint32_t hello_numbered = 8;
/// petition, the group's stream: the sender asks to be promoted. Else volumes want to go on alone.
inline constexpr std::uint32_t hello_promotion = 32;
/// petition, the group's stream: whatever the witness says, an administrator has decided so.
inline constexpr std::uint32_t hello_forced = 64;
/// petition, the group's stream: what was granted to the petition of that name is not wanted.
inline constexpr std::uint32_t hello_withdrawn = 128;

/// The receiver's answer. 96 bytes, entries follow.
struct WelcomeBody {
  char node[32];              // name of the receiver, NUL padded
  std::uint32_t entries;      // AnswerEntry that follow, one for each HelloEntry, same order
  std::uint16_t head_bytes;   // size of this head
  std::uint16_t entry_bytes;  // size of each entry
  std::uint64_t required;     // capabilities that the sender of the hello must know
  std::uint64_t optional;     // capabilities that the receiver knows
  std::uint8_t journal[16];   // id of the receiver's journal
  std::uint32_t lease_ms;     // mirror: how long a renewal holds; zero: there is no lease
  std::uint8_t reserved[20];  // zero; ignored by readers of this minor version
};
static_assert(sizeof(WelcomeBody) == 96 && offsetof(WelcomeBody, journal) == 56);

/// The answer for one stream: go on behind `received`, or why not. 256 bytes.
struct AnswerEntry {
  std::uint8_t stream[16];
  std::uint64_t received;     // as AckEntry
  std::uint64_t stored;       // as AckEntry
  std::uint64_t history;      // ship, the group's stream: history hash through `received`
  std::uint32_t code;         // 0: go on; else Errc: this stream is refused, the others are not
  std::uint32_t flags;        // answer_detached, answer_gap; unknown ones are ignored
  char reason[192];           // of a refusal: one line, NUL padded
  std::uint8_t reserved[16];  // zero; ignored by readers of this minor version
};
static_assert(sizeof(AnswerEntry) == 256 && offsetof(AnswerEntry, reason) == 48);

/// mirror, of a refused stream whose primary has fence level `status`: the hub has detached it.
inline constexpr std::uint32_t answer_detached = 1;
/// ship, the group's stream: it has gone on behind a gap, of which copies still have to come.
inline constexpr std::uint32_t answer_gap = 2;

/// What compressed data stands behind. 8 bytes. Only to one whose welcome knows of it
/// (optional_packed).
struct PackedHead {
  std::uint32_t bytes;       // of the DATA body that it becomes
  std::uint8_t codec;        // Codec
  std::uint8_t reserved[3];  // zero; ignored by readers of this minor version
};
static_assert(sizeof(PackedHead) == 8);

/// How far the receiver is with one stream. 32 bytes.
struct AckEntry {
  std::uint8_t stream[16];
  std::uint64_t received;  // in memory through this number
  std::uint64_t stored;    // on stable storage through this number
};
static_assert(sizeof(AckEntry) == 32);

/// ship, from the remote: how it is with what it has stored. Only to one whose hello knows of it
/// (optional_reports), and no more often than a heartbeat. 256 bytes; a longer one is cut by
/// readers.
struct ReportBody {
  std::uint64_t applied;        // group_seq through which its copies hold everything
  std::uint64_t journal_bytes;  // size of its journal's circle
  std::uint64_t journal_used;   // bytes of it that are used
  std::uint32_t code;         // 0: its copies go on; else Errc: they stand still, as `reason` says
  std::uint32_t flags;        // report_full, report_bracket; unknown ones are ignored
  char reason[192];           // one line, NUL padded
  std::uint8_t reserved[32];  // zero; ignored by readers of this minor version
};
static_assert(sizeof(ReportBody) == 256 && offsetof(ReportBody, reason) == 32);

/// Its journal has no room for what comes next.
inline constexpr std::uint32_t report_full = 1;
/// A bracket is open there.
inline constexpr std::uint32_t report_bracket = 2;

/// Part of a volume whose content the sender wants to compare. 32 bytes. Only to one whose welcome
/// knows of it (optional_sums).
struct AskEntry {
  std::uint8_t volume[16];   // UUID
  std::uint64_t begin;       // bytes
  std::uint32_t bytes;       // 1 to limits::record_payload_bytes_max
  std::uint8_t reserved[4];  // zero; ignored by readers of this minor version
};
static_assert(sizeof(AskEntry) == 32 && offsetof(AskEntry, bytes) == 24);

/// What the receiver's copy holds there. 48 bytes.
struct SumEntry {
  std::uint8_t volume[16];  // as AskEntry
  std::uint64_t begin;      // as AskEntry
  std::uint32_t bytes;      // as AskEntry
  std::uint32_t flags;      // sum_known; unknown ones are ignored
  std::uint8_t sum[16];     // ContentSum, little endian, the low half first; zero if not known
};
static_assert(sizeof(SumEntry) == 48 && offsetof(SumEntry, sum) == 32);

/// There is a sum. Else nothing can be said of that part, and it has to be copied.
inline constexpr std::uint32_t sum_known = 1;

/// What a node's comparison of one volume has found since it began, as VERIFY records came to their
/// turn. Comes whole each time. Only to one whose hello knows of it (optional_verify). 128 bytes,
/// then the ranges that differ, in order, at most limits::verified_ranges_max.
struct VerifiedBody {
  std::uint8_t volume[16];    // UUID
  char node[32];              // whose copy it is, NUL padded; it may be further downstream
  std::uint64_t run;          // when it began: CLOCK_REALTIME of that node, which forgets it with
                              // its daemon
  std::uint64_t through;      // volume_seq of the last one that came to its turn
  std::uint64_t compared;     // bytes
  std::uint64_t skipped;      // bytes: the copy was not whole when they came to their turn
  std::uint64_t differing;    // bytes of those compared
  std::uint32_t ranges;       // VerifiedRange that follow
  std::uint32_t reserved0;    // zero
  std::uint8_t reserved[32];  // zero; ignored by readers of this minor version
};
static_assert(sizeof(VerifiedBody) == 128 && offsetof(VerifiedBody, run) == 48 &&
              offsetof(VerifiedBody, ranges) == 88);

struct VerifiedRange {
  std::uint64_t begin;  // bytes from the start of the volume
  std::uint64_t bytes;
};
static_assert(sizeof(VerifiedRange) == 16);

/// Why the session ends. 8 bytes, then length - 8 bytes of text, at most refusal_text_max.
struct RefuseBody {
  std::uint32_t code;      // Errc of the refusing side
  std::uint32_t reserved;  // zero
};
static_assert(sizeof(RefuseBody) == 8);

// ---- values: what sessions hand around; one encode and one decode each, in frame.cpp ----

struct Hello {
  Uuid group;
  std::string node;
  SessionKind kind;
  struct Stream {
    Uuid uuid;
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    bool fresh = false;
    bool leaving = false;
    std::uint32_t block = 0;
    std::uint64_t bytes = 0;
    Uuid generation{};
    Uuid incarnation{};
    std::uint64_t history = 0;
    std::uint8_t hub_ack = 0;
    std::uint8_t differs = 0;
    bool clean = false;
    bool numbered = false;
    std::uint64_t end_seq = 0;
    Uuid journal{};
    std::uint64_t out_of_sync = 0;
    std::uint8_t fence = 0;
    Uuid parent{};
    bool gap = false;
    bool promotion = false;
    bool forced = false;
    bool withdrawn = false;
  };
  std::vector<Stream> streams;
  Uuid journal{};
  bool takes_reports = false;
  bool takes_verified = false;
};

struct Report {
  std::uint64_t applied = 0;
  std::uint64_t journal_bytes = 0;
  std::uint64_t journal_used = 0;
  std::optional<Error> failure = {};
  bool full = false;
  bool bracket = false;
};

struct Ack {
  Uuid stream;
  std::uint64_t received = 0;
  std::uint64_t stored = 0;
};

/// Part of a volume: what may be compared, and copied, at once.
struct Ask {
  Uuid volume;
  std::uint64_t begin = 0;  // bytes
  std::uint32_t bytes = 0;
  bool operator==(const Ask&) const = default;
};

struct Sum {
  Ask of;
  std::optional<ContentSum> sum = {};  // nothing: not known
};

struct Answer {
  Ack ack;
  std::uint64_t history = 0;
  std::optional<Error> refusal = {};
  bool detached = false;
  bool gap = false;
};

struct Welcome {
  std::string node;
  std::vector<Answer> streams;
  Uuid journal{};
  std::chrono::milliseconds lease{};
  bool takes_packed = false;
  bool answers_asks = false;
  bool rejoins = false;
  bool verifies = false;
};

/// VerifiedBody, and its ranges.
struct Verified {
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t bytes = 0;
    bool operator==(const Range&) const = default;
  };
  Uuid volume{};
  std::string node;
  std::uint64_t run = 0;
  std::uint64_t through = 0;
  std::uint64_t compared = 0;
  std::uint64_t skipped = 0;
  std::uint64_t differing = 0;  // of which some may have found no place in `ranges`
  std::vector<Range> ranges = {};
  bool operator==(const Verified&) const = default;
};

using Bytes = std::vector<std::byte>;

/// Largest body that a frame of this type may claim, and so what a reader has to have room for.
std::size_t body_bytes_max(FrameType type);

/// A header ready for the wire; `length` and `records` as in FrameHeader.
FrameHeader make_header(FrameType type, std::uint32_t length, std::uint32_t records,
                        std::uint64_t tally, std::uint32_t body_crc);

/// Checks, in this order: magic, header checksum, version, type, length and record count against
/// their limits. Returns the header in host order. Errc::corrupt or Errc::version.
Result<FrameHeader> check_header(std::span<const std::byte, sizeof(FrameHeader)> bytes);

/// Whole frames, header included, for the small types.
Bytes encode_hello(const Hello& hello, std::uint64_t tally);
Bytes encode_welcome(const Welcome& welcome);
Bytes encode_heartbeat(std::uint64_t tally);
Bytes encode_refusal(Errc code, std::string_view text);
Bytes encode_report(const Report& report);
Bytes encode_asks(std::span<const Ask> asks, std::uint64_t tally);
Bytes encode_sums(std::span<const Sum> sums, std::uint64_t tally);
Bytes encode_verified(const Verified& verified, std::uint64_t tally);
/// Into a caller's buffer, reused, so that acknowledging allocates nothing once it has grown.
void encode_acks(std::span<const Ack> acks, std::uint64_t tally, Bytes& out);

/// Bodies of checked headers (host order). Each verifies body_crc, counts, reserved fields.
Result<Hello> decode_hello(const FrameHeader& header, std::span<const std::byte> body);
Result<Welcome> decode_welcome(const FrameHeader& header, std::span<const std::byte> body);
/// `out` is overwritten; reused, so that it allocates nothing once it has grown.
Result<void> decode_acks(const FrameHeader& header, std::span<const std::byte> body,
                         std::vector<Ack>& out);
Result<Report> decode_report(const FrameHeader& header, std::span<const std::byte> body);
Result<std::vector<Ask>> decode_asks(const FrameHeader& header, std::span<const std::byte> body);
Result<std::vector<Sum>> decode_sums(const FrameHeader& header, std::span<const std::byte> body);
Result<Verified> decode_verified(const FrameHeader& header, std::span<const std::byte> body);
/// What the peer says, or what is wrong with how it says it: either way why the session ends.
Error decode_refusal(const FrameHeader& header, std::span<const std::byte> body);

/// Records and payload of a DATA body; views into it.
struct DataView {
  std::span<const Record> records;
  std::span<const std::byte> payload;  // all payloads, in record order
};

/// Checks body_crc, each record, that payload sizes add up to the body, and each payload's CRC.
/// `body` must be aligned to 8 bytes.
Result<DataView> decode_data(const FrameHeader& header, std::span<const std::byte> body);

}  // namespace cascade
