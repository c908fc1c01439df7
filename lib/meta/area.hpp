// SPDX-License-Identifier: GPL-2.0-or-later
//
// The metadata area of a primary's volume, as user space makes and reads it
// (kmod/uapi/dm_cascade_meta.h has its bytes; while a table is loaded the module writes it).
// Blocking I/O.
#pragma once

#include "kmod/uapi/dm_cascade_meta.h"
#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cascade::meta {

/// Where the area of a volume is, and what is left for the volume. Bytes.
struct Place {
  std::string device;              // that the area is on
  std::uint64_t offset = 0;        // of the area on it
  std::uint64_t area_bytes = 0;    // its size
  std::uint64_t volume_bytes = 0;  // of the backing device, from its start
};

/// What a superblock says, in host order.
struct Area {
  struct Generation {
    Uuid id{};
    std::uint64_t began = 0;  // behind this volume_seq
  };
  Uuid volume{};
  Uuid journal{};
  Uuid incarnation{};
  std::uint64_t counter = 0;
  std::uint64_t volume_bytes = 0;  // when it was opened last; all behind it is out of sync
  std::uint64_t area_bytes = 0;
  bool clean = true;
  bool numbered = false;
  bool alone = false;          // it went on without its hub, and has not been back
  std::uint64_t alone_ns = 0;  // when, CLOCK_REALTIME
  std::uint32_t differs = 0;   // CASCADE_DIFFERS_*
  std::uint64_t end_seq = 0;
  std::uint64_t local_errors = 0;
  std::uint64_t written_ns = 0;
  std::uint64_t device_bytes = 0;
  std::string device;                   // at most CASCADE_META_DEVICE_BYTES - 1 characters are kept
  std::string meta_device;              // likewise
  std::vector<Generation> generations;  // the current one first; 1 to CASCADE_META_GENERATIONS
  std::uint64_t required = 0;           // CASCADE_META_REQUIRED_*
  // What a later minor version put there: kept as read.
  std::uint64_t optional = 0;
  std::array<std::uint8_t, sizeof(cascade_meta_super::reserved)> reserved{};
};

/// Bytes of an area with room for the bitmap of a volume of this size; a multiple of 64 KiB.
std::uint64_t area_bytes(std::uint64_t volume_bytes);

/// "internal": the end of the backing device, in multiples of 4 KiB. Errc::invalid if the device is
/// too small for both.
Result<Place> internal_place(const std::string& device, std::uint64_t device_bytes);

/// A device of its own, from its start; the volume then takes the whole backing device.
/// Errc::invalid if it is too small.
Result<Place> own_place(const std::string& device, std::uint64_t device_bytes,
                        std::uint64_t backing_bytes);

/// An area for a volume that nobody has written yet, with a new generation.
Area new_area(const Uuid& volume, const Place& place, std::uint64_t now_ns);

using SuperBytes = std::span<std::byte, CASCADE_META_SUPER_BYTES>;
/// For a disk that holds the volume as of write `begins.began` of `parent`, which its history parts
/// from there. `volume_bytes`: of what it holds; anything behind that is out of sync.
Area area_behind(const Uuid& volume, const Place& place, const Area::Generation& begins,
                 const Uuid& parent, std::uint64_t volume_bytes, std::uint64_t now_ns);

void encode_super(const Area& area, SuperBytes out);
/// Errc::not_found (no magic: not a metadata area), corrupt, version.
Result<Area> decode_super(std::span<const std::byte, CASCADE_META_SUPER_BYTES> in);

/// The newer whole copy. Errors name the device; Errc::foreign if it is another volume's.
Result<Area> read_area(const Place& place, const Uuid& volume);

/// Writes both copies and an empty bitmap. Refuses, and changes nothing, if the device is in use,
/// or has an area or any signature that libblkid knows, unless `force`.
Result<void> format_area(const Place& place, const Area& area, bool force);

/// Writes the next superblock of an area that nobody has: what was read, and changed.
Result<void> rewrite_super(const Place& place, Area area);

/// How many regions of the volume its bitmap marks. A block that is not whole counts as all marked.
Result<std::uint64_t> count_marks(const Place& place, const Area& area);

/// Whether the hub's copy holds all that the volume does: it was with a hub, was closed in order,
/// and nothing is out of sync. Errc::refused says why not.
Result<void> ended_in_order(const Place& place, const Area& area);

/// There is no area of this volume there any more. Harmless if there was none.
Result<void> wipe_area(const Place& place, const Uuid& volume);

/// Why the volume and the hub's copy may differ, in words; empty if nothing says so.
std::string differs_text(std::uint32_t differs);

}  // namespace cascade::meta
