// SPDX-License-Identifier: GPL-2.0-or-later
//
// The control socket (lib/api): one JSON object a line each way.
#pragma once

#include "daemon/io/task.hpp"
#include "lib/base/result.hpp"

#include <boost/asio/local/stream_protocol.hpp>

#include <functional>
#include <memory>
#include <set>
#include <string>

namespace cascade::control {

/// Answers a request line with an answer line.
using Handler = std::function<Task<std::string>(std::string request)>;

class Server {
 public:
  Server(asio::io_context& io, std::string path, Handler handler);

  /// Takes the place of a socket that a dead daemon left; refuses that of a living one.
  Result<void> start();
  Task<> stop();

 private:
  using Acceptor = asio::basic_socket_acceptor<asio::local::stream_protocol, Executor>;
  using Socket = asio::basic_stream_socket<asio::local::stream_protocol, Executor>;

  bool somebody_answers() const;
  Task<> accept();
  Task<> serve(std::shared_ptr<Socket> socket);

  std::string path_;
  Handler handler_;
  Acceptor acceptor_;
  Executor executor_;
  Crew crew_;
  std::set<std::shared_ptr<Socket>> clients_;
};

}  // namespace cascade::control
