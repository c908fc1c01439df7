// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/double/memory_disk.hpp"

#include <boost/asio/post.hpp>

#include <cerrno>
#include <cstring>

namespace cascade::test {

void MemoryDisk::cut_power() {
  for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo)
    std::memcpy(image_.data() + undo->offset, undo->data.data(), undo->data.size());
  undo_.clear();
}

Task<Result<void>> MemoryDisk::read(std::uint64_t offset, std::span<std::byte> out) {
  co_await asio::post(executor_, use_task);
  if (auto ok = inside("read", offset, out.size()); !ok) co_return ok;
  if (fault_ == Fault::reads) co_return Error{Errc::io, path_ + " can't be read"};
  reads_.count += 1;
  reads_.bytes += out.size();
  std::memcpy(out.data(), image_.data() + offset, out.size());
  co_return Result<void>{};
}

Task<Result<void>> MemoryDisk::write(std::span<const DiskWrite> writes) {
  // In any order, the seam says: in the one that a caller is least likely to have meant.
  for (auto w = writes.rbegin(); w != writes.rend(); ++w)
    if (auto put = co_await put_one(w->offset, w->data); !put) co_return put;
  co_return Result<void>{};
}

Task<Result<void>> MemoryDisk::write_durable(std::uint64_t offset,
                                             std::span<const std::byte> data) {
  if (auto put = co_await put_one(offset, data); !put) co_return put;
  if (auto flushed = lose_flush(); !flushed) co_return flushed;
  // Like FUA: this write is stable, not those before it.
  undo_.pop_back();
  co_return Result<void>{};
}

Task<Result<void>> MemoryDisk::zero(std::uint64_t offset, std::uint64_t bytes, bool) {
  const std::vector<std::byte> zeroes(bytes);
  co_return co_await put_one(offset, zeroes);
}

Task<Result<void>> MemoryDisk::flush() {
  co_await asio::post(executor_, use_task);
  while (holding_flushes_) co_await moved_.wait();
  if (auto flushed = lose_flush(); !flushed) co_return flushed;
  undo_.clear();
  co_return Result<void>{};
}

Result<void> MemoryDisk::lose_flush() {
  if (fault_ != Fault::flushes && fault_ != Fault::lost_flush) return {};
  if (fault_ == Fault::lost_flush) {
    fault_ = Fault::none;
    flushes_lost_ += 1;
    cut_power();
  }
  return Error{Errc::io, path_ + ": flush: " + std::strerror(EIO)};
}

Result<void> MemoryDisk::step_aside() {
  aside_ = true;
  return {};
}

Result<void> MemoryDisk::reopen() {
  if (!std::exchange(aside_, false)) cut_power();
  writes_left_ = writes_of_reopened_;
  times_reopened_ += 1;
  bytes_ = image_.size();
  return {};
}

Result<void> MemoryDisk::inside(const char* what, std::uint64_t offset, std::uint64_t bytes) const {
  if (offset <= image_.size() && bytes <= image_.size() - offset) return {};
  return Error{Errc::io, path_ + ": " + what + " past the end"};
}

Task<Result<void>> MemoryDisk::put_one(std::uint64_t offset, std::span<const std::byte> data) {
  for (unsigned i = 0; i < write_turns_; ++i) co_await asio::post(executor_, use_task);
  while (holding_) co_await moved_.wait();
  if (auto ok = inside("write", offset, data.size()); !ok) co_return ok;
  if (aside_) co_return Error{Errc::io, path_ + ": write: " + std::strerror(EBADF)};
  if (writes_left_ == 0 || fault_ == Fault::writes)
    co_return Error{Errc::io, path_ + ": write: " + std::strerror(EIO)};
  if (writes_left_ != never) --writes_left_;
  writes_.count += 1;
  writes_.bytes += data.size();
  const std::byte* at = image_.data() + offset;
  undo_.push_back({offset, {at, at + data.size()}});
  std::memcpy(image_.data() + offset, data.data(), data.size());
  co_return Result<void>{};
}

}  // namespace cascade::test
