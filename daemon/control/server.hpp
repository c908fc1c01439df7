// SPDX-License-Identifier: GPL-2.0-or-later
//
// The control socket (lib/api): one JSON object a line each way. It is made again when somebody has
// removed it, and tried again when it can't be made: the daemon's work does not depend on it.
#pragma once

#include "daemon/io/clock.hpp"
#include "lib/base/result.hpp"

#include <boost/asio/local/stream_protocol.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

namespace cascade::control {

/// Answers a request line with an answer line.
using Handler = std::function<Task<std::string>(std::string request)>;

class Server {
 public:
  Server(asio::io_context& io, Clock& clock, std::string path, Handler handler);

  /// Takes the place of a socket that a dead daemon left; refuses that of a living one.
  Result<void> start();
  Task<> stop();

 private:
  using Acceptor = asio::basic_socket_acceptor<asio::local::stream_protocol, Executor>;
  using Socket = asio::basic_stream_socket<asio::local::stream_protocol, Executor>;

  bool somebody_answers() const;
  Result<void> bind();
  Task<> live();
  Task<> accept();
  Task<> watch();
  std::uint64_t inode() const;
  Task<> serve(std::shared_ptr<Socket> socket);

  std::string path_;
  Handler handler_;
  Acceptor acceptor_;
  Clock& clock_;
  std::unique_ptr<Timer> pause_timer_;
  std::unique_ptr<Timer> watch_timer_;
  std::uint64_t inode_ = 0;  // of the socket that is ours
  std::string trouble_;      // that was logged
  bool stopping_ = false;
  Crew crew_;
  std::set<std::shared_ptr<Socket>> clients_;
};

}  // namespace cascade::control
