// SPDX-License-Identifier: GPL-2.0-or-later
//
// A disk in memory behind the Disk seam, with the faults that a real one has: errors from a chosen
// write on, writes that do not come back, and a power cut that loses what was not flushed.
#pragma once

#include "daemon/io/disk.hpp"

#include <boost/asio/post.hpp>

#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace cascade::test {

class MemoryDisk : public Disk {
 public:
  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

  MemoryDisk(const Executor& executor, std::string path, std::uint64_t bytes)
      : MemoryDisk(executor, std::move(path), std::vector<std::byte>(bytes)) {}
  /// With what is in `image`.
  MemoryDisk(const Executor& executor, std::string path, std::vector<std::byte> image)
      : executor_(executor),
        path_(std::move(path)),
        image_(std::move(image)),
        bytes_(image_.size()),
        moved_(executor) {}

  // ---- faults

  /// The next `n` writes go well, all later ones fail.
  void fail_after(std::uint64_t n) { writes_left_ = n; }
  /// Writes wait until it is called again with false.
  void hold_writes(bool hold) {
    holding_ = hold;
    moved_.notify();
  }
  /// The same for flushes.
  void hold_flushes(bool hold) {
    holding_flushes_ = hold;
    moved_.notify();
  }
  /// Takes back every write that was not flushed.
  void cut_power() {
    for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo)
      std::memcpy(image_.data() + undo->offset, undo->data.data(), undo->data.size());
    undo_.clear();
  }

  /// With so many writes that go well when it is opened anew.
  void fail_after_reopening(std::uint64_t n) { writes_of_reopened_ = n; }
  /// How often that was.
  unsigned times_reopened() const { return times_reopened_; }

  /// A write takes so many turns of the loop.
  void slow_down(unsigned turns) { write_turns_ = turns; }
  void set_block(std::uint32_t bytes) { block_ = bytes; }
  /// Under whoever has it open.
  void grow(std::uint64_t bytes) { image_.resize(bytes); }

  std::vector<std::byte>& image() { return image_; }
  const std::vector<std::byte>& image() const { return image_; }

  // ---- Disk

  const std::string& path() const override { return path_; }
  std::string identity() const override { return {}; }
  std::uint64_t bytes() const override { return bytes_; }
  std::uint64_t bytes_now() const override { return image_.size(); }
  std::uint32_t block() const override { return block_; }

  Task<Result<void>> read(std::uint64_t offset, std::span<std::byte> out) override {
    co_await asio::post(executor_, use_task);
    if (auto ok = inside("read", offset, out.size()); !ok) co_return ok;
    std::memcpy(out.data(), image_.data() + offset, out.size());
    co_return Result<void>{};
  }

  Task<Result<void>> write(std::span<const DiskWrite> writes) override {
    for (const DiskWrite& w : writes)
      if (auto put = co_await put_one(w.offset, w.data); !put) co_return put;
    co_return Result<void>{};
  }

  Task<Result<void>> write_durable(std::uint64_t offset, std::span<const std::byte> data) override {
    if (auto put = co_await put_one(offset, data); !put) co_return put;
    // Like FUA: this write is stable, not those before it.
    undo_.pop_back();
    co_return Result<void>{};
  }

  Task<Result<void>> zero(std::uint64_t offset, std::uint64_t bytes, bool) override {
    const std::vector<std::byte> zeroes(bytes);
    co_return co_await put_one(offset, zeroes);
  }

  Task<Result<void>> flush() override {
    co_await asio::post(executor_, use_task);
    while (holding_flushes_) co_await moved_.wait();
    undo_.clear();
    co_return Result<void>{};
  }

  /// A device that went away has lost what was not flushed.
  Result<void> reopen() override {
    cut_power();
    writes_left_ = writes_of_reopened_;
    times_reopened_ += 1;
    bytes_ = image_.size();
    return {};
  }

 private:
  struct Undo {
    std::uint64_t offset;
    std::vector<std::byte> data;
  };

  Result<void> inside(const char* what, std::uint64_t offset, std::uint64_t bytes) const {
    if (offset <= image_.size() && bytes <= image_.size() - offset) return {};
    return Error{Errc::io, path_ + ": " + what + " past the end"};
  }

  Task<Result<void>> put_one(std::uint64_t offset, std::span<const std::byte> data) {
    for (unsigned i = 0; i < write_turns_; ++i) co_await asio::post(executor_, use_task);
    while (holding_) co_await moved_.wait();
    if (auto ok = inside("write", offset, data.size()); !ok) co_return ok;
    if (writes_left_ == 0) co_return Error{Errc::io, path_ + ": write: " + std::strerror(EIO)};
    if (writes_left_ != never) --writes_left_;
    const std::byte* at = image_.data() + offset;
    undo_.push_back({offset, {at, at + data.size()}});
    std::memcpy(image_.data() + offset, data.data(), data.size());
    co_return Result<void>{};
  }

  Executor executor_;
  std::string path_;
  std::vector<std::byte> image_;
  std::uint64_t bytes_;  // as it was opened
  std::vector<Undo> undo_;
  Signal moved_;
  std::uint64_t writes_left_ = never;
  std::uint64_t writes_of_reopened_ = never;
  unsigned times_reopened_ = 0;
  std::uint32_t block_ = 512;
  unsigned write_turns_ = 1;
  bool holding_ = false;
  bool holding_flushes_ = false;
};

}  // namespace cascade::test
