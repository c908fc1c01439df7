// SPDX-License-Identifier: GPL-2.0-or-later
//
// Two ends of a connection in memory, behind the Stream seam. Holds the caller to the seam's rule
// of one writer and one reader at a time.
#pragma once

#include "daemon/io/net.hpp"

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cascade::test {

class MemoryStream final : public Stream {
 public:
  /// Bytes in one direction. Each end waits on its own loop, so that one can be abandoned alone.
  struct Pipe {
    Pipe(const Executor& writer, const Executor& reader) : arrived(reader), drained(writer) {}
    void notify() {
      arrived.notify();
      drained.notify();
    }
    std::vector<std::byte> bytes;
    std::size_t room = std::numeric_limits<std::size_t>::max();  // writers wait beyond it
    bool closed = false;
    Signal arrived, drained;
  };

  MemoryStream(const Executor& executor, std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out,
               std::string host = "10.0.0.1")
      : executor_(executor),
        in_(std::move(in)),
        out_(std::move(out)),
        host_(std::move(host)),
        peer_(host_ + ":1") {}

  /// As the kernel closes the sockets of a process that is gone.
  ~MemoryStream() override { shut(); }

  using Pair = std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>>;
  static Pair pair(const Executor& executor) { return pair(executor, executor); }
  static Pair pair(const Executor& a, const Executor& b, const std::string& host_of_a = "10.0.0.1",
                   const std::string& host_of_b = "10.0.0.1");

  /// Asked before each operation; if it says so, the connection is lost then.
  void cut_when(std::function<bool()> cut) { cut_ = std::move(cut); }

  /// While it says so, nothing arrives here, not even the peer's end; notify the pipe afterwards.
  void hold_when(std::function<bool()> held) { held_ = std::move(held); }

  std::shared_ptr<Pipe> in_pipe() const { return in_; }
  Pipe& in() { return *in_; }
  Pipe& out() { return *out_; }
  bool closed() const { return out_->closed; }

  Task<Result<std::size_t>> read_some(std::span<std::byte> out) override;
  Task<Result<void>> write(std::span<const asio::const_buffer> buffers) override;
  void close() override { shut(); }

  std::optional<Transit> transit() const override { return transit_now; }
  Result<void> set_congestion_control(const std::string& name) override {
    if (name != "bbr") return Error{Errc::not_found, name + " is not to be had"};
    return {};
  }
  Transit transit_now;

  const std::string& peer() const override { return peer_; }
  const std::string& peer_host() const override { return host_; }

 private:
  void shut();

  Executor executor_;
  std::shared_ptr<Pipe> in_, out_;
  std::string host_, peer_;
  std::function<bool()> cut_, held_;
  bool closed_here_ = false;
  bool writing_ = false;
};

}  // namespace cascade::test
