// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/double/memory_stream.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace cascade::test {

MemoryStream::Pair MemoryStream::pair(const Executor& a, const Executor& b,
                                      const std::string& host_of_a, const std::string& host_of_b) {
  auto from_a = std::make_shared<Pipe>(a, b), from_b = std::make_shared<Pipe>(b, a);
  return {std::make_unique<MemoryStream>(a, from_b, from_a, host_of_b),
          std::make_unique<MemoryStream>(b, from_a, from_b, host_of_a)};
}

Task<Result<std::size_t>> MemoryStream::read_some(std::span<std::byte> out) {
  co_await asio::post(executor_, use_task);
  if (cut_ && cut_()) shut();
  const auto in = in_;
  while (!closed_here_ && ((held_ && held_()) || (in->bytes.empty() && !in->closed)))
    co_await in->arrived.wait();
  if (closed_here_) co_return Error{Errc::closed, "closed"};
  if (in->bytes.empty()) co_return Error{Errc::closed, "End of file"};
  const std::size_t n = std::min(out.size(), in->bytes.size());
  std::memcpy(out.data(), in->bytes.data(), n);
  in->bytes.erase(in->bytes.begin(), in->bytes.begin() + static_cast<std::ptrdiff_t>(n));
  in->notify();
  co_return n;
}

Task<Result<void>> MemoryStream::write(std::span<const asio::const_buffer> buffers) {
  if (writing_) throw std::logic_error("two writers on one stream");
  writing_ = true;
  co_await asio::post(executor_, use_task);
  if (cut_ && cut_()) shut();
  const auto out = out_;
  while (out->bytes.size() >= out->room && !out->closed) co_await out->drained.wait();
  writing_ = false;
  if (out->closed) co_return Error{Errc::closed, "Broken pipe"};
  for (const auto& buffer : buffers) {
    const auto* data = static_cast<const std::byte*>(buffer.data());
    out->bytes.insert(out->bytes.end(), data, data + buffer.size());
  }
  out->notify();
  co_return Result<void>{};
}

void MemoryStream::shut() {
  closed_here_ = true;
  for (const auto& pipe : {in_, out_}) {
    pipe->closed = true;
    pipe->notify();
  }
}

}  // namespace cascade::test
