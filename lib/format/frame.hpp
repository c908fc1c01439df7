// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hop envelope: what a TCP session between two nodes carries around the records.
//
//   session := HELLO -> , <- WELCOME | REFUSE , then DATA* HEARTBEAT* ->  and  <- ACK* HEARTBEAT*
//   frame   := FrameHeader (32 bytes) body (FrameHeader.length bytes)
//
//   HELLO   body := HelloBody HelloEntry*      "this is what I can send, from where on"
//   WELCOME body := WelcomeBody AckEntry*      "this is what I have; go on after it"
//   DATA    body := Record* payload*           payloads in the order of their records, no gaps
//   ACK     body := AckEntry*                  cumulative
//   HEARTBEAT    := empty
//   REFUSE  body := RefuseBody text            then the sender closes
//
// All little endian. A length is checked against limits.hpp before a byte of the body is read.
#pragma once

#include "lib/base/limits.hpp"
#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"
#include "lib/format/record.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cascade {

inline constexpr std::uint32_t frame_magic = 0x46435343;  // "CSCF" as bytes on the wire
inline constexpr std::uint16_t frame_version = 1;

enum class FrameType : std::uint16_t {
  hello = 1,
  welcome = 2,
  data = 3,
  ack = 4,
  heartbeat = 5,
  refuse = 6,
};

/// Opens every frame. 32 bytes.
struct FrameHeader {
  std::uint32_t magic;    // frame_magic
  std::uint16_t version;  // frame_version
  std::uint16_t type;     // FrameType
  std::uint32_t length;   // bytes of body
  std::uint32_t records;  // DATA: records in the body; otherwise zero
  std::uint64_t
      stored_through;      // ship sessions, hub to remote: group_seq durable at the hub; else zero
  std::uint32_t body_crc;  // CRC-32C of the body; DATA: of its records only, payloads carry theirs
  std::uint32_t header_crc;  // CRC-32C of bytes 0 to 27
};
static_assert(sizeof(FrameHeader) == 32 && offsetof(FrameHeader, stored_through) == 16 &&
              offsetof(FrameHeader, header_crc) == 28);

/// Who opens a session and for which group. 72 bytes, entries follow.
struct HelloBody {
  std::uint8_t group[16];     // UUID of the consistency group
  char node[32];              // name of the sender in the configuration, NUL padded
  std::uint32_t kind;         // SessionKind
  std::uint32_t entries;      // HelloEntry that follow
  std::uint64_t reserved[2];  // zero
};
static_assert(sizeof(HelloBody) == 72);

enum class SessionKind : std::uint32_t {
  mirror = 1,  // primary to hub: an entry a volume, numbers are volume_seq
  ship = 2,    // hub to remote: one entry, the group, numbers are group_seq
};

/// What the sender can send of one stream. 40 bytes.
struct HelloEntry {
  std::uint8_t stream[16];  // UUID of the volume (mirror) or of the group (ship)
  std::uint64_t first;      // first number that it can still send
  std::uint64_t last;       // last number that it has now; first - 1 when it has none
  std::uint32_t fresh;  // mirror: 1 = the ring has not been numbered yet, first and last are zero
  std::uint32_t reserved;  // zero
};
static_assert(sizeof(HelloEntry) == 40);

/// The receiver's answer. 40 bytes, entries follow.
struct WelcomeBody {
  char node[32];           // name of the receiver, NUL padded
  std::uint32_t entries;   // AckEntry that follow, one for each HelloEntry, same order
  std::uint32_t reserved;  // zero
};
static_assert(sizeof(WelcomeBody) == 40);

/// How far the receiver is with one stream. 32 bytes.
struct AckEntry {
  std::uint8_t stream[16];
  std::uint64_t received;  // in memory through this number
  std::uint64_t stored;    // on stable storage through this number
};
static_assert(sizeof(AckEntry) == 32);

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
  };
  std::vector<Stream> streams;
};

struct Ack {
  Uuid stream;
  std::uint64_t received = 0;
  std::uint64_t stored = 0;
};

struct Welcome {
  std::string node;
  std::vector<Ack> streams;
};

using Bytes = std::vector<std::byte>;

/// Largest body that a frame of this type may claim, and so what a reader has to have room for.
std::size_t body_bytes_max(FrameType type);

/// A header ready for the wire; `length` and `records` as in FrameHeader.
FrameHeader make_header(FrameType type, std::uint32_t length, std::uint32_t records,
                        std::uint64_t stored_through, std::uint32_t body_crc);

/// Checks, in this order: magic, header checksum, version, type, length and record count against
/// their limits. Returns the header in host order. Errc::corrupt or Errc::version.
Result<FrameHeader> check_header(std::span<const std::byte, sizeof(FrameHeader)> bytes);

/// Whole frames, header included, for the small types.
Bytes encode_hello(const Hello& hello, std::uint64_t stored_through);
Bytes encode_welcome(const Welcome& welcome);
Bytes encode_heartbeat(std::uint64_t stored_through);
Bytes encode_refusal(Errc code, std::string_view text);
/// Into a caller's buffer, reused, so that acknowledging allocates nothing once it has grown.
void encode_acks(std::span<const Ack> acks, Bytes& out);

/// Bodies of checked headers (host order). Each verifies body_crc, counts, reserved fields.
Result<Hello> decode_hello(const FrameHeader& header, std::span<const std::byte> body);
Result<Welcome> decode_welcome(const FrameHeader& header, std::span<const std::byte> body);
/// `out` is overwritten; reused, so that it allocates nothing once it has grown.
Result<void> decode_acks(const FrameHeader& header, std::span<const std::byte> body,
                         std::vector<Ack>& out);
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
