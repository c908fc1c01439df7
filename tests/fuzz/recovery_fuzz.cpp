// SPDX-License-Identifier: GPL-2.0-or-later
// A journal with some bytes changed: found whole, torn or damaged, never more than was written.
#include "tests/fuzz/input.hpp"
#include "tests/unit/journal/disk_image.hpp"

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
  return 0;
}
