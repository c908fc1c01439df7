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

/// The welcome that answers a hello, from `node`; `body` is reused. Errors: of the reader; what the
/// peer refuses with; Errc::invalid, Errc::corrupt, Errc::version; Errc::refused: another node
/// answers, at `address`.
Task<Result<Welcome>> read_welcome(FrameReader& reader, Bytes& body, const std::string& node,
                                   const std::string& address);

}  // namespace cascade
