// SPDX-License-Identifier: GPL-2.0-or-later
// Records as the kernel makes them, for tests.
#pragma once

#include "lib/base/checksum.hpp"
#include "lib/format/record.hpp"

#include <cstring>
#include <vector>

namespace cascade::test {

inline const Uuid volume_a = *parse_uuid("0b9c6f0e-5c1d-4e0b-8f43-2d1f6ea0b002");
inline const Uuid volume_b = *parse_uuid("0b9c6f0e-5c1d-4e0b-8f43-2d1f6ea0b003");
inline const Uuid group = *parse_uuid("6b6f0c1e-7d7a-4f3e-9a55-0a4f6ea0b001");

inline std::vector<std::byte> pattern(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = std::byte((seed * 131 + i * 7) & 0xff);
  return out;
}

inline Record make_record(std::uint64_t volume_seq, std::span<const std::byte> payload,
                          std::uint64_t sector = 0, const Uuid& volume = volume_a,
                          std::uint8_t op = CASCADE_OP_WRITE, std::uint32_t length = 0) {
  Record r{};
  r.version = CASCADE_RECORD_VERSION;
  r.op = op;
  std::memcpy(r.volume, volume.data, sizeof r.volume);
  r.sector = htole64(sector);
  r.length = htole32(op == CASCADE_OP_WRITE ? static_cast<std::uint32_t>(payload.size()) : length);
  r.volume_seq = htole64(volume_seq);
  if (op == CASCADE_OP_WRITE) r.payload_crc = htole32(crc32c(payload));
  seal(r);
  return r;
}

}  // namespace cascade::test
