// SPDX-License-Identifier: GPL-2.0-or-later
//
// Seam: byte streams between nodes.
#pragma once

#include "daemon/io/task.hpp"
#include "lib/base/result.hpp"
#include "lib/config/config.hpp"

#include <boost/asio/buffer.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace cascade {

/// One reader and one writer at a time. close() may be called at any time, also twice; operations
/// under way then return Errc::closed.
class Stream {
 public:
  virtual ~Stream() = default;
  /// At least one byte; Errc::closed at the end of the stream.
  virtual Task<Result<std::size_t>> read_some(std::span<std::byte> out) = 0;
  /// All of the buffers, gathered.
  virtual Task<Result<void>> write(std::span<const asio::const_buffer> buffers) = 0;
  virtual void close() = 0;
  /// What becomes of what was written; nothing where that is not known.
  struct Transit {
    unsigned resent = 0;     // how often the oldest packet that has not arrived was sent again
    unsigned packet = 0;     // bytes of a full packet
    bool under_way = false;  // something has not arrived yet
  };
  virtual std::optional<Transit> transit() const = 0;
  /// How fast it sends, by what it takes for congestion: the system's name for that, as "bbr".
  virtual Result<void> set_congestion_control(const std::string& name) = 0;
  /// "10.1.0.11:40312", for messages.
  virtual const std::string& peer() const = 0;
  /// "10.1.0.11": who it is as far as limits go. Empty if not known.
  virtual const std::string& peer_host() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;
  /// Errc::closed once it is closed. After any other error it can be asked again, later.
  virtual Task<Result<std::unique_ptr<Stream>>> accept() = 0;
  virtual void close() = 0;
  /// Reached from this machine only.
  virtual bool is_loopback() const = 0;
};

class Net {
 public:
  virtual ~Net() = default;
  virtual Task<Result<std::unique_ptr<Listener>>> listen(const Address& address) = 0;
  virtual Task<Result<std::unique_ptr<Stream>>> connect(const Address& address,
                                                        std::chrono::milliseconds time_max) = 0;
  /// Takes over a stream that another thread's Net accepted. Errc::closed if it was closed
  /// meanwhile.
  virtual Result<std::unique_ptr<Stream>> adopt(std::unique_ptr<Stream> stream) = 0;
};

}  // namespace cascade
