// SPDX-License-Identifier: GPL-2.0-or-later
//
// For who reads a device from one end to the other in small pieces: they come out of large reads.
#pragma once

#include "daemon/io/disk.hpp"
#include "daemon/path/batch.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace cascade {

class DiskWindow {
 public:
  /// So much at a time that a disk's latency does not count beside its rate.
  static constexpr std::size_t usual_bytes = 1024 * 1024;

  /// `ahead`: of one read, if less is asked for; `size`: the most that may be asked for. No memory
  /// is held before the first read.
  explicit DiskWindow(Disk& disk, std::size_t ahead = usual_bytes, std::size_t size = usual_bytes)
      : disk_(disk), ahead_(ahead), size_(size) {}

  std::size_t size() const { return size_; }

  /// `bytes` <= size() from `offset` on, read together with what follows up to `end`, if they are
  /// not here yet. Valid until the next call. Errors of the device.
  Task<Result<std::span<const std::byte>>> at(std::uint64_t offset, std::size_t bytes,
                                              std::uint64_t end);
  /// The same if nothing has to be read for it.
  std::optional<std::span<const std::byte>> at_hand(std::uint64_t offset, std::size_t bytes) const;
  /// Gives the memory back.
  void drop();

 private:
  Disk& disk_;
  std::size_t ahead_;
  std::size_t size_;
  std::optional<AlignedBuffer> buffer_;
  std::uint64_t offset_ = 0;  // of what buffer_ holds
  std::size_t held_ = 0;      // bytes
};

}  // namespace cascade
