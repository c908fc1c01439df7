// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/base/checksum.hpp"

#include <isa-l/crc.h>

#include <algorithm>
#include <limits>

namespace cascade {

std::uint32_t crc32c(std::span<const std::byte> data, std::uint32_t previous) {
  // ISA-L counts in int.
  constexpr std::size_t piece_max = std::numeric_limits<int>::max() / 2;
  std::uint32_t state = ~previous;
  while (!data.empty()) {
    const auto piece = data.first(std::min(piece_max, data.size()));
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(piece.data()));
    state = crc32_iscsi(bytes, static_cast<int>(piece.size()), state);
    data = data.subspan(piece.size());
  }
  return ~state;
}

}  // namespace cascade
