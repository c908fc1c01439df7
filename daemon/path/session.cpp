// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/session.hpp"

#include "lib/format/frame.hpp"

#include <array>

namespace cascade {

Task<> send_refusal(Stream& stream, const Error& error) {
  const Bytes frame = encode_refusal(error.code, error.text);
  const std::array buffers{asio::const_buffer(frame.data(), frame.size())};
  (void)co_await stream.write(buffers);
}

Task<> turn_away(std::unique_ptr<Stream> stream, Error error) {
  co_await send_refusal(*stream, error);
  stream->close();
}

}  // namespace cascade
