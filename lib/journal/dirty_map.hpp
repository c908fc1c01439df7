// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hub's dirty bitmap of its remote: one bit a region of each volume, "the remote may lack what
// is here". It is kept between superblocks and circle, in one of two places in turn:
//
//   512 KiB    768 KiB    1 MiB
//   | map 2, 4, .. | map 1, 3, .. |        map := DirtyBlock*
//
// A block says by itself which regions of which volume it is of, so a map can be read whatever the
// configuration is by now. A block that was never written since the map was begun marks nothing;
// one that is damaged marks everything.
#pragma once

#include "lib/journal/layout.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

namespace cascade {

inline constexpr std::uint64_t dirty_map_bytes = 256 * 1024;
inline constexpr std::uint64_t dirty_region_bytes_min = 256 * 1024;
inline constexpr std::uint32_t dirty_magic = 0x44435343;  // "CSCD"

/// 256 bytes, little endian.
struct DirtyBlock {
  std::uint32_t magic;         // dirty_magic
  std::uint32_t crc;           // CRC-32C of the block with this field zero
  std::uint64_t map;           // number of the map, RemoteBehind.map
  std::uint8_t volume[16];     // UUID
  std::uint64_t first_region;  // region that bit 0 is of
  std::uint64_t region_bytes;  // a power of two
  std::uint8_t reserved[16];   // zero
  std::uint8_t bits[192];      // bit n % 8 of byte n / 8: region first_region + n
};
static_assert(sizeof(DirtyBlock) == 256 && offsetof(DirtyBlock, bits) == 64);
inline constexpr std::size_t dirty_block_regions = 8 * sizeof(DirtyBlock::bits);
static_assert(dirty_map_bytes / sizeof(DirtyBlock) >= limits::group_volumes_max);

/// Byte of the journal's device where map number `map` begins.
constexpr std::uint64_t dirty_map_offset(std::uint64_t map) {
  return 2 * superblock_bytes + (map % 2) * dirty_map_bytes;
}
static_assert(dirty_map_offset(1) + dirty_map_bytes <= journal_data_offset);

class DirtyMap {
 public:
  struct Region {
    std::size_t index = 0;  // of its bit; grows with volume and place
    Uuid volume{};
    std::uint64_t begin = 0;  // bytes
    std::uint64_t bytes = 0;  // less than a region's at the end of the volume
  };

  /// An empty one. `volumes`: sizes in bytes, at most limits::group_volumes_max of them; the region
  /// is the smallest with which all have room.
  explicit DirtyMap(const std::map<Uuid, std::uint64_t>& volumes);

  /// The regions that the range touches. A volume that is not known has none; what goes past the
  /// end is left out.
  void mark(const Uuid& volume, std::uint64_t begin, std::uint64_t bytes);
  void mark_all();
  void clear(std::size_t index);
  /// The first marked region from `index` on.
  std::optional<Region> next(std::size_t index) const;

  bool empty() const { return marked_ == 0; }
  /// Bytes of marked regions, at most.
  std::uint64_t marked_bytes() const { return marked_ * region_bytes_; }
  std::uint64_t region_bytes() const { return region_bytes_; }

  /// What map number `map` says, of dirty_map_bytes on disk. Returns whether this map is laid out
  /// as that one, so that it may be gone on with in place.
  bool load(std::uint64_t map, std::span<const std::byte> disk);
  /// Pages of journal_block bytes that are not as on disk; then they count as written.
  std::set<std::size_t> take_changed();
  /// Every page that belongs to a volume.
  void change_all();
  void encode(std::uint64_t map, std::size_t page, std::span<std::byte, journal_block> out) const;

 private:
  struct Volume {
    std::size_t first_block = 0;
    std::uint64_t bytes = 0;
  };
  std::uint64_t regions(const Volume& volume) const {
    return (volume.bytes + region_bytes_ - 1) / region_bytes_;
  }
  std::size_t blocks(const Volume& volume) const {
    return (regions(volume) + dirty_block_regions - 1) / dirty_block_regions;
  }
  void put(std::size_t index, bool marked);
  bool load_block(std::uint64_t map, std::size_t at, const DirtyBlock& block);

  std::uint64_t region_bytes_ = dirty_region_bytes_min;
  std::map<Uuid, Volume> volumes_;
  std::vector<Uuid> volume_of_block_;
  std::vector<std::uint64_t> words_;  // of bits; dirty_block_regions a block
  std::uint64_t marked_ = 0;
  std::set<std::size_t> changed_;  // pages
};

}  // namespace cascade
