// SPDX-License-Identifier: GPL-2.0-or-later
//
// A disk in memory behind the Disk seam, with the faults that a real one has: errors from a chosen
// write on, writes that do not come back, and a power cut that loses what was not flushed.
#pragma once

#include "daemon/io/disk.hpp"

#include <limits>
#include <string>
#include <utility>
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

  enum class Fault {
    none,
    writes,      // each fails
    reads,       // likewise
    flushes,     // likewise; what was not flushed is there as long as the disk is open
    lost_flush,  // the next one fails, and what it was for is gone; then all is well
  };
  void fail(Fault fault) { fault_ = fault; }
  Fault fault() const { return fault_; }
  unsigned flushes_lost() const { return flushes_lost_; }
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
  void cut_power();

  /// With so many writes that go well when it is opened anew.
  void fail_after_reopening(std::uint64_t n) { writes_of_reopened_ = n; }
  /// How often that was.
  unsigned times_reopened() const { return times_reopened_; }

  /// What has been read, or written, since the last call.
  struct Traffic {
    std::uint64_t count = 0, bytes = 0;
  };
  Traffic take_reads() { return std::exchange(reads_, {}); }
  Traffic take_writes() { return std::exchange(writes_, {}); }

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

  Task<Result<void>> read(std::uint64_t offset, std::span<std::byte> out) override;
  Task<Result<void>> write(std::span<const DiskWrite> writes) override;
  Task<Result<void>> write_durable(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<Result<void>> zero(std::uint64_t offset, std::uint64_t bytes, bool) override;
  Task<Result<void>> flush() override;

  /// A device that went away has lost what was not flushed.
  Result<void> reopen() override;
  Result<void> step_aside() override;
  bool is_aside() const { return aside_; }
  std::optional<DiskDrill> drill() const override { return std::nullopt; }

 private:
  struct Undo {
    std::uint64_t offset;
    std::vector<std::byte> data;
  };

  /// Of a flush, or of a write that is one: what the fault says.
  Result<void> lose_flush();
  Result<void> inside(const char* what, std::uint64_t offset, std::uint64_t bytes) const;
  Task<Result<void>> put_one(std::uint64_t offset, std::span<const std::byte> data);

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
  Traffic reads_, writes_;
  bool holding_ = false;
  bool holding_flushes_ = false;
  Fault fault_ = Fault::none;
  unsigned flushes_lost_ = 0;
  bool aside_ = false;
};

}  // namespace cascade::test
