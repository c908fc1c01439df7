// SPDX-License-Identifier: GPL-2.0-or-later
// A journal with some bytes changed: found whole, torn or damaged, never more than was written.
// A dirty bitmap and an undo entry of any content: nothing outside the volumes. An index of any
// content: nothing that goes forwards, or round.
#include "lib/journal/dirty_map.hpp"
#include "lib/journal/index_block.hpp"
#include "lib/journal/undo_log.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/unit/journal/disk_image.hpp"

#include <array>

namespace cascade::fuzz {
namespace {

using test::Image;

/// Three laps' worth of shapes in a small circle: records of each kind, a wrap, an earlier epoch.
Image& original() {
  static Image image = [] {
    Image made;
    for (int i = 0; i < 6; ++i) made.append(1 + i % 3, 4096 * static_cast<std::size_t>(i % 2));
    made.sb.epoch_number = made.head.number;
    made.sb.epoch = 2;
    for (int i = 0; i < 4; ++i) made.append(2, 512);
    return made;
  }();
  return image;
}

/// Changes bytes of the image and takes the change back at the end.
class Change {
 public:
  Change(std::byte& at, std::byte mask) : at_(at), mask_(mask) { at_ ^= mask_; }
  Change(Change&& other) noexcept : at_(other.at_), mask_(std::exchange(other.mask_, {})) {}
  ~Change() { at_ ^= mask_; }

 private:
  std::byte& at_;
  std::byte mask_;
};

void try_superblock(Input& in, const Superblock& good) {
  static std::vector<std::byte> block(superblock_bytes);
  encode_superblock(good, std::span(block).first<superblock_bytes>());
  for (int i = 0; i < 8 && !in.empty(); ++i)
    block[in.get<std::uint16_t>() % 1024] = std::byte{in.get<std::uint8_t>()};
  // With a right checksum: the rest has to be checked too.
  std::memset(block.data() + 12, 0, 4);
  const std::uint32_t crc = htole32(crc32c(block));
  std::memcpy(block.data() + 12, &crc, sizeof crc);
  const auto sb = decode_superblock(std::span(block).first<superblock_bytes>());
  if (sb) require(sb->volumes.size() <= superblock_volumes_max);
}

/// A block of any content, whole by its checksum, which is at byte 4 of it or at byte 8.
template <class Block>
Block any_block(Input& in, std::size_t crc_at) {
  Block block{};
  for (int i = 0; i < 24 && !in.empty(); ++i)
    reinterpret_cast<std::uint8_t*>(&block)[in.get<std::uint16_t>() % sizeof block] =
        in.get<std::uint8_t>();
  if (in.get<std::uint8_t>() % 4 == 0) return block;
  const std::uint64_t magic = crc_at == 4 ? dirty_magic : undo_magic;
  std::memcpy(&block, &magic, crc_at == 4 ? 4 : 8);
  std::memset(reinterpret_cast<std::byte*>(&block) + crc_at, 0, 4);
  const std::uint32_t crc = htole32(crc32c(std::as_bytes(std::span(&block, 1))));
  std::memcpy(reinterpret_cast<std::byte*>(&block) + crc_at, &crc, 4);
  return block;
}

void try_dirty_map(Input& in) {
  static std::vector<std::byte> disk(dirty_map_bytes);
  const std::map<Uuid, std::uint64_t> sizes{{test::volume_a, 5 << 20}, {test::volume_b, 700'000}};
  DirtyMap map(sizes);
  const auto block = any_block<DirtyBlock>(in, 4);
  const std::size_t at = in.get<std::uint8_t>() % 8 * sizeof block;
  std::memcpy(disk.data() + at, &block, sizeof block);
  map.load(in.get<std::uint8_t>(), disk);
  std::memset(disk.data() + at, 0, sizeof block);
  std::uint64_t marked = 0;
  for (auto region = map.next(0); region; region = map.next(region->index + 1)) {
    require(region->begin + region->bytes <= sizes.at(region->volume) && region->bytes > 0);
    marked += map.region_bytes();
  }
  require(marked == map.marked_bytes());
}

void try_undo(Input& in) {
  const auto header = any_block<UndoHeader>(in, 8);
  const auto entry = decode_undo({}, 0, std::as_bytes(std::span(&header, 1)).first<undo_block>());
  if (entry) require(entry->bytes <= undo_region_bytes);
}

/// Whole by its checksums, whatever it says.
void try_index(Input& in) {
  constexpr std::uint64_t position = 1 << 20;
  static const Uuid journal = make_uuid();
  std::array<std::byte, journal_block> block{};
  encode_index({4096, 5, {{1, 8192, 2, 3, 4, 5, 6}, {9, 16384, 4, 3, 4, 5, 6}}}, block);
  constexpr std::size_t at = sizeof(BatchHeader);
  for (int i = 0; i < 12 && !in.empty(); ++i)
    block[at + in.get<std::uint8_t>()] = std::byte{in.get<std::uint8_t>()};
  const std::uint32_t crc = htole32(crc32c(std::span(block).subspan(at + sizeof crc)));
  std::memcpy(block.data() + at, &crc, sizeof crc);
  BatchInfo info;
  info.kind = BatchKind::index;
  info.bytes = journal_block;
  info.position = position;
  seal_batch(info, journal, block);
  const auto index = decode_index(block, journal, position);
  if (!index) return;
  require(!index->previous || *index->previous < position);
  for (const IndexEntry& entry : index->entries) require(entry.position < position);
}

}  // namespace
}  // namespace cascade::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cascade;
  fuzz::Input in(data, size);
  auto& image = fuzz::original();
  const Superblock good = image.sb;
  image.sb.clean = in.get<std::uint8_t>() % 4 == 0;
  image.sb.epoch += in.get<std::uint8_t>() % 3;
  std::vector<fuzz::Change> changes;
  for (int i = 0; i < 4 && in.rest().size() > 3; ++i) {
    const std::uint64_t at = in.get<std::uint32_t>() % (image.head.position + 8192);
    changes.emplace_back(image.bytes[image.offset(at)], std::byte{in.get<std::uint8_t>()});
  }
  const auto found = image.recover();
  if (!found.error) fuzz::require(found.head.seq <= image.head.seq);
  if (!found.error) fuzz::require(found.head.number >= good.epoch_number);
  changes.clear();
  image.sb = good;
  fuzz::try_superblock(in, good);
  fuzz::try_dirty_map(in);
  fuzz::try_undo(in);
  fuzz::try_index(in);
  return 0;
}
