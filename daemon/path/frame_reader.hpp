// SPDX-License-Identifier: GPL-2.0-or-later
//
// Frames out of a stream: small ones from one buffer, a big body straight to its place.
#pragma once

#include "daemon/path/session.hpp"
#include "lib/format/frame.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cascade {

class FrameReader {
 public:
  /// `watch` hears every byte: on a slow link a frame may take longer than a peer may be silent.
  explicit FrameReader(Stream& stream, SilenceWatch* watch = nullptr);

  /// The next frame's header, checked, in host order.
  Task<Result<FrameHeader>> header();
  /// Exactly `out.size()` bytes of its body.
  Task<Result<void>> body(std::span<std::byte> out);

 private:
  std::size_t take_buffered(std::span<std::byte> out);

  Stream& stream_;
  SilenceWatch* watch_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace cascade
