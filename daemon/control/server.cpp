// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/control/server.hpp"

#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <fmt/format.h>

#include <filesystem>

#include <sys/stat.h>
#include <unistd.h>

namespace cascade::control {
namespace {

using Protocol = asio::local::stream_protocol;

// A request is a line of a few words; an endless one is no request.
constexpr std::size_t request_bytes_max = 4096;
constexpr std::size_t clients_max = 64;

}  // namespace

Server::Server(asio::io_context& io, std::string path, Handler handler)
    : path_(std::move(path)),
      handler_(std::move(handler)),
      acceptor_(io.get_executor()),
      executor_(io.get_executor()),
      crew_(io.get_executor()) {}

bool Server::somebody_answers() const {
  asio::io_context io;
  Protocol::socket probe(io);
  boost::system::error_code ec;
  probe.connect(Protocol::endpoint(path_), ec);
  return !ec;
}

Result<void> Server::start() {
  if (somebody_answers())
    return Error{Errc::refused, fmt::format("{}: another daemon answers there; stop it, or set "
                                            "another socket in [daemon]",
                                            path_)};
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), ignored);
  ::unlink(path_.c_str());
  boost::system::error_code ec;
  acceptor_.open(Protocol(), ec);
  const mode_t before = ::umask(0177);
  if (!ec) acceptor_.bind(Protocol::endpoint(path_), ec);
  ::umask(before);
  if (!ec) acceptor_.listen(Acceptor::max_listen_connections, ec);
  if (ec) return Error{Errc::io, fmt::format("{}: {}", path_, ec.message())};
  crew_.add(accept());
  return {};
}

Task<> Server::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  for (const auto& client : clients_) client->close(ignored);
  co_await crew_.join();
  ::unlink(path_.c_str());
}

Task<> Server::accept() {
  for (;;) {
    auto [ec, socket] = co_await acceptor_.async_accept(use_tuple);
    if (ec) co_return;
    if (clients_.size() >= clients_max) continue;
    crew_.add(serve(std::make_shared<Socket>(std::move(socket))));
  }
}

Task<> Server::serve(std::shared_ptr<Socket> socket) {
  clients_.insert(socket);
  std::string input;
  for (;;) {
    auto [ec, bytes] = co_await asio::async_read_until(
        *socket, asio::dynamic_buffer(input, request_bytes_max), '\n', use_tuple);
    if (ec) break;
    std::string request = input.substr(0, bytes - 1);
    std::string answer = co_await handler_(std::move(request));
    input.erase(0, bytes);
    answer += '\n';
    auto [failed, sent] = co_await asio::async_write(*socket, asio::buffer(answer), use_tuple);
    if (failed) break;
  }
  clients_.erase(socket);
}

}  // namespace cascade::control
