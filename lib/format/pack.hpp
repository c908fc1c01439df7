// SPDX-License-Identifier: GPL-2.0-or-later
//
// DATA frames compressed, and back. What does not become smaller is sent as it is, and then less
// and less of what follows is tried, so that incompressible data costs next to nothing.
#pragma once

#include "lib/base/codec.hpp"
#include "lib/format/frame.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace cascade {

/// One sender's. Not for two threads at a time. Keeps its memory: some 3 MiB, and zstd's.
class Packer {
 public:
  /// Not Codec::none.
  explicit Packer(Codec codec);
  ~Packer();

  Codec codec() const { return codec_; }
  /// Whether the next frame is to be tried; asked once a frame.
  bool worth_trying();
  /// Body of a PACKED frame of what `parts` hold, one after another, a DATA frame's body; stable
  /// until the next call. Empty if that would not save an eighth.
  std::span<const std::byte> pack(std::span<const std::span<const std::byte>> parts);

 private:
  struct Zstd;
  std::size_t compress(std::span<const std::byte> in, std::span<std::byte> out);

  Codec codec_;
  std::unique_ptr<Zstd> zstd_;
  std::vector<std::byte> whole_;
  std::vector<std::byte> packed_;
  unsigned skip_ = 0;     // frames that are not tried
  unsigned skipped_ = 0;  // of them, so far
};

/// One receiver's; keeps what zstd needs.
class Unpacker {
 public:
  Unpacker();
  ~Unpacker();

  /// Bytes that the body of a PACKED frame has unpacked. Checks body_crc and the head.
  /// Errc::corrupt.
  static Result<std::size_t> bytes(const FrameHeader& header, std::span<const std::byte> body);
  /// Those, into `out`, which has as many, aligned to 8 bytes; then as decode_data().
  Result<DataView> unpack(const FrameHeader& header, std::span<const std::byte> body,
                          std::span<std::byte> out);

 private:
  struct Zstd;
  bool expand(Codec codec, std::span<const std::byte> in, std::span<std::byte> out);

  std::unique_ptr<Zstd> zstd_;
};

}  // namespace cascade
