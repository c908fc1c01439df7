// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every bound of the data path, with its unit and its reason. Configuration may lower some.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cascade::limits {

// One record's payload: what the module splits bios to. Bounds a receiver's smallest buffer.
inline constexpr std::size_t record_payload_bytes_max = 256 * 1024;

// A zeroing record covers at most this much: the block layer's own 32-bit byte count.
inline constexpr std::uint32_t record_length_max = 0xfffffe00;

// One frame on the wire: enough to fill a pipe of 1 Gb/s x 10 ms, small enough to keep a
// session's buffer modest. A frame's size is checked before anything is read or allocated.
inline constexpr std::size_t frame_records_max = 1024;
inline constexpr std::size_t frame_payload_bytes_max = 1024 * 1024;
static_assert(record_payload_bytes_max <= frame_payload_bytes_max, "one record must fit a frame");

// Parts of volumes that may be asked for and not answered in a session: 16 MiB, so that comparing
// is no slower than a disk over 50 ms.
inline constexpr std::size_t asks_max = 64;

// Ranges of a volume that a comparison found to differ, and names one by one.
inline constexpr std::size_t verified_ranges_max = 256;

// A refusal's text, and a node's name.
inline constexpr std::size_t refusal_text_max = 400;
inline constexpr std::size_t node_name_max = 31;

// Volumes of one group: what a journal superblock has room for.
inline constexpr std::size_t group_volumes_max = 1024;

// Streams of one session: the group, its volumes, and as many that are leaving it.
inline constexpr std::size_t session_streams_max = 1 + 2 * group_volumes_max;

// One journal batch: what one group commit may hold.
inline constexpr std::size_t batch_records_max = 4096;
inline constexpr std::size_t batch_payload_bytes_max = 4 * 1024 * 1024;
static_assert(frame_records_max <= batch_records_max, "one frame must fit a batch");
static_assert(frame_payload_bytes_max <= batch_payload_bytes_max, "one frame must fit a batch");

}  // namespace cascade::limits
