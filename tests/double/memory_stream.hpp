// SPDX-License-Identifier: GPL-2.0-or-later
//
// Two ends of a connection in memory, behind the Stream seam. Holds the caller to the seam's rule
// of one writer and one reader at a time.
#pragma once

#include "daemon/io/net.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cascade::test {

class MemoryStream final : public Stream {
 public:
  /// Bytes in one direction.
  struct Pipe {
    explicit Pipe(const Executor& executor) : moved(executor) {}
    std::vector<std::byte> bytes;
    std::size_t room = std::numeric_limits<std::size_t>::max();  // writers wait beyond it
    bool closed = false;
    Signal moved;
  };

  MemoryStream(const Executor& executor, std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out,
               std::string host = "10.0.0.1")
      : executor_(executor),
        in_(std::move(in)),
        out_(std::move(out)),
        host_(std::move(host)),
        peer_(host_ + ":1") {}

  using Pair = std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>>;
  static Pair pair(const Executor& executor) {
    auto one = std::make_shared<Pipe>(executor), two = std::make_shared<Pipe>(executor);
    return {std::make_unique<MemoryStream>(executor, one, two),
            std::make_unique<MemoryStream>(executor, two, one)};
  }

  Pipe& in() { return *in_; }
  Pipe& out() { return *out_; }
  bool closed() const { return out_->closed; }

  Task<Result<std::size_t>> read_some(std::span<std::byte> out) override {
    co_await asio::post(executor_, use_task);
    const auto in = in_;
    while (in->bytes.empty() && !in->closed) co_await in->moved.wait();
    if (in->bytes.empty()) co_return Error{Errc::closed, "End of file"};
    const std::size_t n = std::min(out.size(), in->bytes.size());
    std::memcpy(out.data(), in->bytes.data(), n);
    in->bytes.erase(in->bytes.begin(), in->bytes.begin() + static_cast<std::ptrdiff_t>(n));
    in->moved.notify();
    co_return n;
  }

  Task<Result<void>> write(std::span<const asio::const_buffer> buffers) override {
    if (writing_) throw std::logic_error("two writers on one stream");
    writing_ = true;
    co_await asio::post(executor_, use_task);
    const auto out = out_;
    while (out->bytes.size() >= out->room && !out->closed) co_await out->moved.wait();
    writing_ = false;
    if (out->closed) co_return Error{Errc::closed, "Broken pipe"};
    for (const auto& buffer : buffers) {
      const auto* data = static_cast<const std::byte*>(buffer.data());
      out->bytes.insert(out->bytes.end(), data, data + buffer.size());
    }
    out->moved.notify();
    co_return Result<void>{};
  }

  void close() override {
    for (const auto& pipe : {in_, out_}) {
      pipe->closed = true;
      pipe->moved.notify();
    }
  }

  const std::string& peer() const override { return peer_; }
  const std::string& peer_host() const override { return host_; }

 private:
  Executor executor_;
  std::shared_ptr<Pipe> in_, out_;
  std::string host_, peer_;
  bool writing_ = false;
};

}  // namespace cascade::test
