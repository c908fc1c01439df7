// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/os/net.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cascade::os {
namespace {

using Tcp = asio::ip::tcp;
using Socket = asio::basic_stream_socket<Tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<Tcp, Executor>;
using Resolver = asio::ip::basic_resolver<Tcp, Executor>;
using Deadline = asio::basic_waitable_timer<std::chrono::steady_clock,
                                            asio::wait_traits<std::chrono::steady_clock>, Executor>;

std::string text(const Address& address) {
  return fmt::format("{}:{}", address.host, address.port);
}

std::string text(const Tcp::endpoint& endpoint) {
  return fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

Error closed(const boost::system::error_code& ec) { return Error{Errc::closed, ec.message()}; }

void limit_silence(Socket& socket, std::chrono::milliseconds time) {
  const int timeout = static_cast<int>(time.count());
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

class TcpStream final : public Stream {
 public:
  TcpStream(Socket socket, std::string peer, std::string host)
      : socket_(std::move(socket)), peer_(std::move(peer)), host_(std::move(host)) {
    boost::system::error_code ignored;
    socket_.set_option(Tcp::no_delay(true), ignored);
  }

  Task<Result<std::size_t>> read_some(std::span<std::byte> out) override {
    auto [ec, bytes] =
        co_await socket_.async_read_some(asio::buffer(out.data(), out.size()), use_tuple);
    if (ec) co_return closed(ec);
    co_return bytes;
  }

  Task<Result<void>> write(std::span<const asio::const_buffer> buffers) override {
    auto [ec, bytes] = co_await asio::async_write(socket_, buffers, use_tuple);
    if (ec) co_return closed(ec);
    co_return Result<void>{};
  }

  void close() override {
    boost::system::error_code ignored;
    socket_.shutdown(Socket::shutdown_both, ignored);
    socket_.close(ignored);
  }

  std::optional<Transit> transit() const override {
    tcp_info info{};
    socklen_t bytes = sizeof info;
    const int fd = const_cast<Socket&>(socket_).native_handle();
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) < 0) return std::nullopt;
    return Transit{info.tcpi_retransmits, info.tcpi_snd_mss, info.tcpi_unacked > 0};
  }

  Result<void> set_congestion_control(const std::string& name) override {
    if (::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_CONGESTION, name.data(),
                     static_cast<socklen_t>(name.size())) == 0)
      return {};
    return Error{Errc::not_found,
                 fmt::format("{} is not to be had: {}", name, std::strerror(errno))};
  }

  const std::string& peer() const override { return peer_; }
  const std::string& peer_host() const override { return host_; }
  Socket& socket() { return socket_; }

 private:
  Socket socket_;
  std::string peer_;
  std::string host_;
};

class TcpListener final : public Listener {
 public:
  TcpListener(Acceptor acceptor, std::chrono::milliseconds silence_max)
      : acceptor_(std::move(acceptor)), silence_max_(silence_max) {}

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    auto [ec, socket] = co_await acceptor_.async_accept(use_tuple);
    if (!acceptor_.is_open()) co_return Error{Errc::closed, "the listener is closed"};
    if (ec) co_return Error{Errc::io, fmt::format("accept: {}", ec.message())};
    limit_silence(socket, silence_max_);
    boost::system::error_code gone;
    const auto remote = socket.remote_endpoint(gone);
    if (gone) co_return std::make_unique<TcpStream>(std::move(socket), "?", "");
    co_return std::make_unique<TcpStream>(std::move(socket), text(remote),
                                          remote.address().to_string());
  }

  void close() override {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
  }

  bool is_loopback() const override {
    boost::system::error_code ec;
    const auto endpoint = acceptor_.local_endpoint(ec);
    return !ec && endpoint.address().is_loopback();
  }

 private:
  Acceptor acceptor_;
  std::chrono::milliseconds silence_max_;
};

Error cannot_listen(const Address& address, const boost::system::error_code& ec) {
  const char* advice = ec == asio::error::address_in_use ? "; is another daemon running?"
                       : ec == std::errc::address_not_available
                           ? "; it is not an address of this machine (yet)"
                           : "";
  return Error{Errc::io,
               fmt::format("cannot listen on {}: {}{}", text(address), ec.message(), advice)};
}

}  // namespace

Task<Result<std::unique_ptr<Listener>>> TcpNet::listen(const Address& address) {
  Resolver resolver(executor_);
  const std::string port = std::to_string(address.port);
  auto [unknown, found] = co_await resolver.async_resolve(address.host, port, use_tuple);
  if (unknown || found.empty()) co_return cannot_listen(address, unknown);
  boost::system::error_code ec;
  const Tcp::endpoint endpoint = *found.begin();
  Acceptor acceptor(executor_);
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(Acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(Acceptor::max_listen_connections, ec);
  if (ec) co_return cannot_listen(address, ec);
  co_return std::make_unique<TcpListener>(std::move(acceptor), silence_max_);
}

Task<Result<std::unique_ptr<Stream>>> TcpNet::connect(const Address& address,
                                                      std::chrono::milliseconds time_max) {
  Resolver resolver(executor_);
  const std::string port = std::to_string(address.port);
  auto [unknown, found] = co_await resolver.async_resolve(address.host, port, use_tuple);
  if (unknown) co_return Error{Errc::io, fmt::format("{}: {}", text(address), unknown.message())};
  Socket socket(executor_);
  // The handler may run after the connection is made: it must not outlive the socket it closes.
  auto watched = std::make_shared<Socket*>(&socket);
  Deadline deadline(executor_, time_max);
  deadline.async_wait([watched](const boost::system::error_code& cancelled) {
    boost::system::error_code ignored;
    if (!cancelled && *watched != nullptr) (*watched)->close(ignored);
  });
  auto [ec, endpoint] = co_await asio::async_connect(socket, found, use_tuple);
  *watched = nullptr;
  deadline.cancel();
  if (ec == asio::error::operation_aborted)
    co_return Error{Errc::io,
                    fmt::format("{}: no answer in {} ms", text(address), time_max.count())};
  if (ec) co_return Error{Errc::io, fmt::format("{}: {}", text(address), ec.message())};
  co_return std::make_unique<TcpStream>(std::move(socket), text(address), address.host);
}

Result<std::unique_ptr<Stream>> TcpNet::adopt(std::unique_ptr<Stream> stream) {
  auto& from = static_cast<TcpStream&>(*stream);
  boost::system::error_code ec;
  const auto protocol = from.socket().local_endpoint(ec).protocol();
  if (ec) return closed(ec);
  const int fd = from.socket().release(ec);
  if (ec) return closed(ec);
  Socket socket(executor_);
  socket.assign(protocol, fd, ec);
  if (ec) {
    ::close(fd);
    return closed(ec);
  }
  return std::make_unique<TcpStream>(std::move(socket), from.peer(), from.peer_host());
}

}  // namespace cascade::os
