// SPDX-License-Identifier: GPL-2.0-or-later
//
// CRC-32C (Castagnoli; RFC 3720 appendix B.4), the one checksum of every format here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cascade {

/// "123456789" gives 0xe3069283. To continue over a second piece pass the first one's result.
std::uint32_t crc32c(std::span<const std::byte> data, std::uint32_t previous = 0);

}  // namespace cascade
