// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/meta/area.hpp"

#include "lib/base/checksum.hpp"
#include "lib/block/block_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace cascade::meta {
namespace {

using Super = cascade_meta_super;

// The fields are read and written as they lie.
static_assert(std::endian::native == std::endian::little);
static_assert(sizeof(Super) == CASCADE_META_SUPER_BYTES && offsetof(Super, volume) == 16 &&
              offsetof(Super, counter) == 64 && offsetof(Super, flags) == 96 &&
              offsetof(Super, end_seq) == 104 && offsetof(Super, device_bytes) == 144 &&
              offsetof(Super, device) == 152 && offsetof(Super, generations) == 408 &&
              offsetof(Super, boot) == 1184 && offsetof(Super, alone_ns) == 1216);
static_assert(sizeof(cascade_meta_generation) == 24);
static_assert(sizeof(cascade_meta_block) == CASCADE_META_BITMAP_BLOCK);

constexpr std::uint64_t block = 4096;
constexpr std::uint64_t area_step = 64 * 1024;
constexpr std::uint64_t region_bytes = CASCADE_META_REGION_SECTORS * 512;

constexpr std::uint64_t divide_up(std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; }

/// Of a superblock or a block of the bitmap.
template <class Page>
std::uint32_t checksum(const Page& page) {
  Page zeroed = page;
  zeroed.crc = 0;
  return crc32c(std::as_bytes(std::span(&zeroed, 1)));
}

void put(std::uint8_t (&to)[16], const Uuid& from) { std::memcpy(to, from.data, 16); }

Uuid get(const std::uint8_t (&from)[16]) {
  Uuid to;
  std::memcpy(to.data, from, 16);
  return to;
}

void put(char (&to)[CASCADE_META_DEVICE_BYTES], const std::string& from) {
  std::memcpy(to, from.data(), std::min(from.size(), sizeof to - 1));
}

std::string get(const char (&from)[CASCADE_META_DEVICE_BYTES]) {
  return std::string(from, ::strnlen(from, sizeof from));
}

Result<Area> read_copy(const BlockFile& file, const Place& place, std::uint64_t counter) {
  std::array<std::byte, CASCADE_META_SUPER_BYTES> bytes;
  auto ok = file.read(place.offset + counter % 2 * CASCADE_META_SUPER_BYTES, bytes);
  if (!ok) return ok.error();
  return decode_super(bytes);
}

Result<Area> choose(const Result<Area>& a, const Result<Area>& b) {
  if (a && b) return a->counter > b->counter ? a : b;
  if (a || b) return a ? a : b;
  // Of two reasons the one that is about an area.
  return a.error().code == Errc::not_found ? b : a;
}

Result<Area> read_newest(const BlockFile& file, const Place& place) {
  return choose(read_copy(file, place, 0), read_copy(file, place, 1));
}

Result<void> write_super(BlockFile& file, const Place& place, const Area& area) {
  std::array<std::byte, CASCADE_META_SUPER_BYTES> bytes;
  encode_super(area, bytes);
  return file.write(place.offset + area.counter % 2 * CASCADE_META_SUPER_BYTES, bytes);
}

Result<void> check_fields(const Super& super) {
  if (super.generations == 0 || super.generations > CASCADE_META_GENERATIONS)
    return Error{Errc::corrupt, "its generations are not 1 to 32"};
  if (super.area_bytes < CASCADE_META_BITMAP_OFFSET ||
      super.bitmap_offset < 2 * CASCADE_META_SUPER_BYTES ||
      !std::has_single_bit(super.region_sectors))
    return Error{Errc::corrupt, "its sizes make no sense"};
  return {};
}

bool is_whole(const cascade_meta_block& block, std::uint64_t index) {
  return block.magic == CASCADE_META_BLOCK_MAGIC && block.index == index &&
         block.crc == checksum(block);
}

}  // namespace

// Of a device that is all for it an area takes more than it needs, so that the volume may grow: up
// to 127 TiB.
constexpr std::uint64_t own_area_bytes = 64 << 20;

std::uint64_t area_bytes(std::uint64_t volume_bytes) {
  const std::uint64_t regions = divide_up(volume_bytes, region_bytes);
  const std::uint64_t blocks = divide_up(regions, CASCADE_META_BITS_PER_BLOCK);
  return divide_up(CASCADE_META_BITMAP_OFFSET + blocks * CASCADE_META_BITMAP_BLOCK, area_step) *
         area_step;
}

Result<Place> internal_place(const std::string& device, std::uint64_t device_bytes) {
  const std::uint64_t usable = device_bytes / block * block;
  const std::uint64_t needed = area_bytes(usable);
  if (usable < needed + block)
    return Error{Errc::invalid, fmt::format("{}: its {} bytes are too few for an internal metadata "
                                            "area of {}; use a larger device",
                                            device, device_bytes, needed)};
  return Place{device, usable - needed, needed, usable - needed};
}

Result<Place> own_place(const std::string& device, std::uint64_t device_bytes,
                        std::uint64_t backing_bytes) {
  const std::uint64_t needed = area_bytes(backing_bytes);
  if (device_bytes < needed)
    return Error{Errc::invalid, fmt::format("{}: it has {} bytes, the metadata area of this volume "
                                            "needs {}; use a larger device",
                                            device, device_bytes, needed)};
  const std::uint64_t whole = device_bytes / CASCADE_META_BITMAP_BLOCK * CASCADE_META_BITMAP_BLOCK;
  return Place{device, 0, std::min(whole, std::max(needed, own_area_bytes)), backing_bytes};
}

Area new_area(const Uuid& volume, const Place& place, std::uint64_t now_ns) {
  Area area;
  area.volume = volume;
  area.counter = 1;
  area.volume_bytes = place.volume_bytes;
  area.area_bytes = place.area_bytes;
  area.written_ns = now_ns;
  area.generations.push_back({make_uuid(), 0});
  return area;
}

Area area_behind(const Uuid& volume, const Place& place, const Area::Generation& begins,
                 const Uuid& parent, std::uint64_t volume_bytes, std::uint64_t now_ns) {
  Area area = new_area(volume, place, now_ns);
  area.volume_bytes = std::min(volume_bytes, place.volume_bytes);
  area.numbered = true;
  area.end_seq = begins.began;
  area.generations = {begins, {parent, 0}};
  return area;
}

void encode_super(const Area& area, SuperBytes out) {
  Super super{};
  super.magic = CASCADE_META_MAGIC;
  super.major = CASCADE_META_MAJOR;
  super.minor = CASCADE_META_MINOR;
  put(super.volume, area.volume);
  put(super.journal, area.journal);
  put(super.incarnation, area.incarnation);
  super.counter = area.counter;
  super.sectors = area.volume_bytes / 512;
  super.area_bytes = area.area_bytes;
  super.bitmap_offset = CASCADE_META_BITMAP_OFFSET;
  super.region_sectors = CASCADE_META_REGION_SECTORS;
  super.flags = (area.clean ? CASCADE_META_CLEAN : 0u) |
                (area.numbered ? CASCADE_META_NUMBERED : 0u) |
                (area.alone ? CASCADE_META_ALONE : 0u);
  super.alone_ns = area.alone_ns;
  super.differs = area.differs;
  super.end_seq = area.end_seq;
  super.local_errors = area.local_errors;
  super.written_ns = area.written_ns;
  super.device_bytes = area.device_bytes;
  put(super.device, area.device);
  put(super.meta_device, area.meta_device);
  super.generations = static_cast<std::uint32_t>(
      std::min<std::size_t>(area.generations.size(), CASCADE_META_GENERATIONS));
  for (std::uint32_t i = 0; i < super.generations; ++i) {
    put(super.generation[i].id, area.generations[i].id);
    super.generation[i].began = area.generations[i].began;
  }
  super.required = area.required;
  super.optional = area.optional;
  std::memcpy(super.reserved, area.reserved.data(), sizeof super.reserved);
  super.crc = checksum(super);
  std::memcpy(out.data(), &super, sizeof super);
}

Result<Area> decode_super(std::span<const std::byte, CASCADE_META_SUPER_BYTES> in) {
  Super super;
  std::memcpy(&super, in.data(), sizeof super);
  if (super.magic != CASCADE_META_MAGIC) return Error{Errc::not_found, "is no metadata area"};
  if (super.major != CASCADE_META_MAJOR)
    return Error{Errc::version,
                 fmt::format("its metadata area has format {}, this program knows {}", super.major,
                             CASCADE_META_MAJOR)};
  if (super.crc != checksum(super)) return Error{Errc::corrupt, "its checksum is wrong"};
  if (const std::uint64_t unknown = super.required & ~CASCADE_META_REQUIRED_KNOWN; unknown != 0)
    return Error{Errc::version,
                 fmt::format("its metadata area needs capabilities {:#x}, which this "
                             "program does not know; use a newer one",
                             unknown)};
  if (auto ok = check_fields(super); !ok) return ok.error();
  Area area;
  area.volume = get(super.volume);
  area.journal = get(super.journal);
  area.incarnation = get(super.incarnation);
  area.counter = super.counter;
  area.volume_bytes = super.sectors * 512;
  area.area_bytes = super.area_bytes;
  area.clean = (super.flags & CASCADE_META_CLEAN) != 0;
  area.numbered = (super.flags & CASCADE_META_NUMBERED) != 0;
  area.alone = (super.flags & CASCADE_META_ALONE) != 0;
  area.alone_ns = super.alone_ns;
  area.differs = super.differs;
  area.end_seq = super.end_seq;
  area.local_errors = super.local_errors;
  area.written_ns = super.written_ns;
  area.device_bytes = super.device_bytes;
  area.device = get(super.device);
  area.meta_device = get(super.meta_device);
  area.required = super.required;
  area.optional = super.optional;
  std::memcpy(area.reserved.data(), super.reserved, sizeof super.reserved);
  for (std::uint32_t i = 0; i < super.generations; ++i)
    area.generations.push_back({get(super.generation[i].id), super.generation[i].began});
  return area;
}

Result<Area> read_area(const Place& place, const Uuid& volume) {
  const auto file = BlockFile::look(place.device);
  if (!file) return file.error();
  auto area = read_newest(*file, place);
  if (!area && area.error().code == Errc::not_found)
    return Error{Errc::not_found, fmt::format("{}: there is no metadata area at byte {}",
                                              place.device, place.offset)};
  if (!area)
    return Error{area.error().code, fmt::format("{}: the metadata area at byte {} is unusable: {}",
                                                place.device, place.offset, area.error().text)};
  if (area->volume != volume)
    return Error{Errc::foreign, fmt::format("{}: its metadata area is of volume {}", place.device,
                                            to_text(area->volume))};
  return area;
}

Result<void> format_area(const Place& place, const Area& area, bool force) {
  auto file = BlockFile::open(place.device);
  if (!file) return file.error();
  if (!force) {
    if (const auto found = read_newest(*file, place);
        found || found.error().code != Errc::not_found)
      return Error{Errc::refused,
                   fmt::format("{} has a metadata area already{}; --force makes a new one and "
                               "forgets its history",
                               place.device, found ? " of volume " + to_text(found->volume) : "")};
    if (auto ok = file->refuse_signature(
            fmt::format("the metadata area would take {} bytes from byte {} on; --force writes it",
                        place.area_bytes, place.offset));
        !ok)
      return ok;
  }
  const std::vector<std::byte> zero(place.area_bytes);
  if (auto ok = file->write(place.offset, zero); !ok) return ok;
  if (auto ok = write_super(*file, place, area); !ok) return ok;
  return file->flush();
}

Result<void> rewrite_super(const Place& place, Area area) {
  auto file = BlockFile::open(place.device);
  if (!file) return file.error();
  ++area.counter;
  if (auto ok = write_super(*file, place, area); !ok) return ok;
  return file->flush();
}

Result<std::uint64_t> count_marks(const Place& place, const Area& area) {
  const auto file = BlockFile::look(place.device);
  if (!file) return file.error();
  const std::uint64_t regions = divide_up(area.volume_bytes, region_bytes);
  std::uint64_t marks = 0;
  for (std::uint64_t first = 0; first < regions; first += CASCADE_META_BITS_PER_BLOCK) {
    const std::uint64_t index = first / CASCADE_META_BITS_PER_BLOCK;
    cascade_meta_block bits;
    auto ok = file->read(place.offset + CASCADE_META_BITMAP_OFFSET + index * sizeof bits,
                         std::as_writable_bytes(std::span(&bits, 1)));
    if (!ok) return ok.error();
    if (!is_whole(bits, index))
      marks += std::min<std::uint64_t>(CASCADE_META_BITS_PER_BLOCK, regions - first);
    else
      for (const std::uint64_t word : bits.bits) marks += std::popcount(word);
  }
  return marks;
}

Result<void> ended_in_order(const Place& place, const Area& area) {
  const auto refuse = [](std::string why) { return Error{Errc::refused, std::move(why)}; };
  if (!area.numbered || (area.required & CASCADE_META_REQUIRED_BITMAP) == 0)
    return refuse("it has not been with a hub yet");
  if (area.alone) return refuse("it went on without its hub, and has not been back");
  if (!area.clean) return refuse("it was not closed in order");
  if (area.differs != 0) return refuse(differs_text(area.differs));
  const auto marks = count_marks(place, area);
  if (!marks) return marks.error();
  if (*marks != 0)
    return refuse(
        fmt::format("{} of its regions of {} KiB are out of sync", *marks, region_bytes / 1024));
  return {};
}

Result<void> wipe_area(const Place& place, const Uuid& volume) {
  const auto there = read_area(place, volume);
  if (!there && there.error().code == Errc::not_found) return {};
  if (!there) return there.error();
  auto file = BlockFile::open(place.device);
  if (!file) return file.error();
  const std::vector<std::byte> zero(CASCADE_META_BITMAP_OFFSET);
  if (auto ok = file->write(place.offset, zero); !ok) return ok;
  return file->flush();
}

std::string differs_text(std::uint32_t differs) {
  std::string text;
  const auto add = [&](std::uint32_t bit, const char* words) {
    if ((differs & bit) == 0) return;
    if (!text.empty()) text += "; ";
    text += words;
  };
  add(CASCADE_DIFFERS_UNCLEAN, "it ended without order, with writes under way");
  add(CASCADE_DIFFERS_LOCAL, "a local write failed");
  add(CASCADE_DIFFERS_OUTSIDE, "its disk was written while no target had it");
  return text;
}

}  // namespace cascade::meta
