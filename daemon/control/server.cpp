// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/control/server.hpp"

#include "daemon/report/log.hpp"

#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

namespace cascade::control {
namespace {

using Protocol = asio::local::stream_protocol;

// A request is a line of a few words; an endless one is no request.
constexpr std::size_t request_bytes_max = 4096;
constexpr std::size_t clients_max = 64;

// Between tries to make it or to accept, and between looks whether it is still there.
constexpr std::chrono::milliseconds pause{500};
constexpr std::chrono::seconds watch_interval{2};

Error taken(const std::string& path) {
  return Error{Errc::refused, fmt::format("{}: another daemon answers there; stop it, or set "
                                          "another socket in [daemon]",
                                          path)};
}

}  // namespace

Server::Server(asio::io_context& io, Clock& clock, std::string path, Handler handler)
    : path_(std::move(path)),
      handler_(std::move(handler)),
      acceptor_(io.get_executor()),
      clock_(clock),
      pause_timer_(clock.timer()),
      watch_timer_(clock.timer()),
      crew_(io.get_executor()) {}

bool Server::somebody_answers() const {
  asio::io_context io;
  Protocol::socket probe(io);
  boost::system::error_code ec;
  probe.connect(Protocol::endpoint(path_), ec);
  return !ec;
}

Result<void> Server::start() {
  if (somebody_answers()) return taken(path_);
  crew_.add(live());
  crew_.add(watch());
  return {};
}

Result<void> Server::bind() {
  if (somebody_answers()) return taken(path_);
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), ignored);
  ::unlink(path_.c_str());
  boost::system::error_code ec;
  acceptor_.open(Protocol(), ec);
  const mode_t before = ::umask(0177);
  if (!ec) acceptor_.bind(Protocol::endpoint(path_), ec);
  ::umask(before);
  if (!ec) acceptor_.listen(Acceptor::max_listen_connections, ec);
  inode_ = inode();
  if (!ec) return {};
  acceptor_.close();
  return Error{Errc::io, fmt::format("{}: {}", path_, ec.message())};
}

Task<> Server::live() {
  while (!stopping_) {
    const auto bound = bind();
    if (bound) {
      trouble_.clear();
      co_await accept();
      continue;
    }
    if (std::exchange(trouble_, bound.error().text) != bound.error().text)
      report::log(report::Level::warning, "control", bound.error().text);
    co_await pause_timer_->sleep(pause);
  }
}

Task<> Server::stop() {
  stopping_ = true;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  pause_timer_->cancel();
  watch_timer_->cancel();
  for (const auto& client : clients_) client->close(ignored);
  if (inode() == inode_) ::unlink(path_.c_str());
  co_await crew_.join();
}

/// Until the acceptor is closed.
Task<> Server::accept() {
  for (;;) {
    auto [ec, socket] = co_await acceptor_.async_accept(use_tuple);
    if (!acceptor_.is_open()) co_return;
    if (ec) {
      co_await pause_timer_->sleep(pause);
      continue;
    }
    if (clients_.size() >= clients_max) continue;
    crew_.add(serve(std::make_shared<Socket>(std::move(socket))));
  }
}

/// Somebody who cleans up /run must not make a running daemon look dead.
Task<> Server::watch() {
  while (!stopping_) {
    co_await watch_timer_->sleep(watch_interval);
    boost::system::error_code ignored;
    if (acceptor_.is_open() && inode() != inode_) acceptor_.close(ignored);
  }
}

std::uint64_t Server::inode() const {
  struct stat st;
  return ::stat(path_.c_str(), &st) == 0 ? st.st_ino : 0;
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
