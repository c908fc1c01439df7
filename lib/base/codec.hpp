// SPDX-License-Identifier: GPL-2.0-or-later
//
// How what is sent is compressed, if it is.
#pragma once

#include <cstdint>

namespace cascade {

/// The numbers are those of the wire.
enum class Codec : std::uint8_t {
  none = 0,
  lz4 = 1,   // a block of it, https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
  zstd = 2,  // a frame of it, RFC 8878
};

}  // namespace cascade
