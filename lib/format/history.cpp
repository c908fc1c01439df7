// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/format/history.hpp"

#include <xxhash.h>

#include <cstring>

#include <endian.h>

namespace cascade {

History history_begin(const Uuid& group) { return XXH3_64bits(group.data, sizeof group.data); }

History history_begin_with(History before, const Uuid& volume, std::uint64_t volume_seq,
                           const Uuid& generation) {
  std::uint8_t place[sizeof volume.data + sizeof volume_seq + sizeof generation.data];
  const std::uint64_t seq = htole64(volume_seq);
  std::memcpy(place, volume.data, sizeof volume.data);
  std::memcpy(place + sizeof volume.data, &seq, sizeof seq);
  std::memcpy(place + sizeof volume.data + sizeof seq, generation.data, sizeof generation.data);
  return XXH3_64bits_withSeed(place, sizeof place, before);
}

History history_after(History before, const Record& record) {
  return XXH3_64bits_withSeed(&record, sizeof record, before);
}

}  // namespace cascade
