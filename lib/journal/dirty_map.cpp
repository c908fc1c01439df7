// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/journal/dirty_map.hpp"

#include "lib/base/checksum.hpp"

#include <endian.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace cascade {
namespace {

constexpr std::size_t blocks_max = dirty_map_bytes / sizeof(DirtyBlock);
constexpr std::size_t blocks_a_page = journal_block / sizeof(DirtyBlock);
constexpr std::size_t word_bits = 64;

std::uint32_t crc_of(DirtyBlock block) {
  block.crc = 0;
  return crc32c(std::as_bytes(std::span(&block, 1)));
}

bool never_written(const DirtyBlock& block) {
  const auto bytes = std::as_bytes(std::span(&block, 1));
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

DirtyMap::DirtyMap(const std::map<Uuid, std::uint64_t>& volumes) {
  for (const auto& [uuid, bytes] : volumes)
    if (bytes > 0) volumes_[uuid].bytes = bytes;
  const auto needed = [this] {
    std::size_t sum = 0;
    for (const auto& [uuid, volume] : volumes_) sum += blocks(volume);
    return sum;
  };
  while (needed() > blocks_max) region_bytes_ *= 2;
  for (auto& [uuid, volume] : volumes_) {
    volume.first_block = volume_of_block_.size();
    volume_of_block_.insert(volume_of_block_.end(), blocks(volume), uuid);
  }
  words_.resize(volume_of_block_.size() * dirty_block_regions / word_bits);
}

void DirtyMap::put(std::size_t index, bool marked) {
  std::uint64_t& word = words_[index / word_bits];
  const std::uint64_t bit = std::uint64_t{1} << index % word_bits;
  if (((word & bit) != 0) == marked) return;
  word ^= bit;
  marked ? ++marked_ : --marked_;
  changed_.insert(index / dirty_block_regions / blocks_a_page);
}

void DirtyMap::clear(std::size_t index) { put(index, false); }

void DirtyMap::mark(const Uuid& uuid, std::uint64_t begin, std::uint64_t bytes) {
  const auto found = volumes_.find(uuid);
  if (found == volumes_.end() || bytes == 0) return;
  const Volume& volume = found->second;
  if (begin >= volume.bytes) return;
  const std::uint64_t end = begin + std::min(bytes, volume.bytes - begin);
  const std::size_t first_bit = volume.first_block * dirty_block_regions;
  for (std::uint64_t region = begin / region_bytes_; region <= (end - 1) / region_bytes_; ++region)
    put(first_bit + region, true);
}

void DirtyMap::mark_all() {
  for (const auto& [uuid, volume] : volumes_) mark(uuid, 0, volume.bytes);
}

std::optional<DirtyMap::Region> DirtyMap::next(std::size_t index) const {
  for (std::size_t at = index / word_bits; at < words_.size(); ++at) {
    std::uint64_t word = words_[at];
    if (at == index / word_bits) word &= ~std::uint64_t{0} << index % word_bits;
    if (word == 0) continue;
    Region out;
    out.index = at * word_bits + static_cast<std::size_t>(std::countr_zero(word));
    out.volume = volume_of_block_[out.index / dirty_block_regions];
    const Volume& volume = volumes_.at(out.volume);
    out.begin = (out.index - volume.first_block * dirty_block_regions) * region_bytes_;
    out.bytes = std::min(region_bytes_, volume.bytes - out.begin);
    return out;
  }
  return std::nullopt;
}

// ---- on disk

bool DirtyMap::load(std::uint64_t map, std::span<const std::byte> disk) {
  bool same = true;
  for (std::size_t at = 0; at < blocks_max; ++at) {
    DirtyBlock block;
    std::memcpy(&block, disk.data() + at * sizeof block, sizeof block);
    if (!never_written(block)) same = load_block(map, at, block) && same;
  }
  changed_.clear();
  return same;
}

bool DirtyMap::load_block(std::uint64_t map, std::size_t at, const DirtyBlock& block) {
  const std::uint64_t region = le64toh(block.region_bytes);
  if (le32toh(block.magic) != dirty_magic || le32toh(block.crc) != crc_of(block) ||
      !std::has_single_bit(region)) {
    mark_all();
    return false;
  }
  if (le64toh(block.map) != map) return true;
  Uuid uuid;
  std::memcpy(uuid.data, block.volume, sizeof uuid.data);
  const std::uint64_t first = le64toh(block.first_region);
  for (std::size_t n = 0; n < dirty_block_regions; ++n)
    if ((block.bits[n / 8] >> n % 8 & 1) != 0) mark(uuid, (first + n) * region, region);
  const auto found = volumes_.find(uuid);
  return region == region_bytes_ && at < volume_of_block_.size() && volume_of_block_[at] == uuid &&
         found->second.first_block + first / dirty_block_regions == at;
}

std::set<std::size_t> DirtyMap::take_changed() { return std::exchange(changed_, {}); }

void DirtyMap::change_all() {
  for (std::size_t at = 0; at < volume_of_block_.size(); at += blocks_a_page)
    changed_.insert(at / blocks_a_page);
}

void DirtyMap::encode(std::uint64_t map, std::size_t page,
                      std::span<std::byte, journal_block> out) const {
  std::memset(out.data(), 0, out.size());
  const std::size_t first = page * blocks_a_page;
  const std::size_t last = std::min(first + blocks_a_page, volume_of_block_.size());
  for (std::size_t at = first; at < last; ++at) {
    DirtyBlock block{};
    block.magic = htole32(dirty_magic);
    block.map = htole64(map);
    const Uuid& uuid = volume_of_block_[at];
    std::memcpy(block.volume, uuid.data, sizeof block.volume);
    block.first_region = htole64((at - volumes_.at(uuid).first_block) * dirty_block_regions);
    block.region_bytes = htole64(region_bytes_);
    for (std::size_t n = 0; n < dirty_block_regions; ++n) {
      const std::size_t index = at * dirty_block_regions + n;
      if ((words_[index / word_bits] >> index % word_bits & 1) != 0)
        block.bits[n / 8] = static_cast<std::uint8_t>(block.bits[n / 8] | 1U << n % 8);
    }
    block.crc = htole32(crc_of(block));
    std::memcpy(out.data() + (at - first) * sizeof block, &block, sizeof block);
  }
}

}  // namespace cascade
