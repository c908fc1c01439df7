// SPDX-License-Identifier: GPL-2.0-or-later
//
// Seam: one block device or file: a journal or a copy of a volume. Direct I/O: offsets, sizes and
// buffers are multiples of 512 bytes (of journal_block for a journal). Operations may run together;
// overlapping ones have no order among themselves. An error names device, operation, offset, cause.
#pragma once

#include "daemon/io/task.hpp"
#include "lib/base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace cascade {

struct DiskWrite {
  std::uint64_t offset;  // bytes
  std::span<const std::byte> data;
};

/// A snapshot of a disk for a drill; see lib/dm/drill.hpp.
struct DiskDrill {
  std::string path;           // where its image is
  std::uint64_t seq = 0;      // group_seq through which that has everything
  std::uint64_t time_ns = 0;  // CLOCK_REALTIME when it was made
  std::uint64_t used_bytes = 0;
  std::uint64_t space_bytes = 0;
  bool broken = false;  // the image gives errors
};

class Disk {
 public:
  virtual ~Disk() = default;

  virtual const std::string& path() const = 0;
  /// What names the device whatever its path; empty: nothing does.
  virtual std::string identity() const = 0;
  virtual std::uint64_t bytes() const = 0;
  /// Its size now, which is more than bytes() if it has grown since it was opened; 0: not known.
  virtual std::uint64_t bytes_now() const = 0;
  /// The smallest unit that it writes: offsets and sizes are multiples of it. In bytes.
  virtual std::uint32_t block() const = 0;

  virtual Task<Result<void>> read(std::uint64_t offset, std::span<std::byte> out) = 0;

  /// All of `writes`, in any order, submitted together. The buffers live until it returns.
  virtual Task<Result<void>> write(std::span<const DiskWrite> writes) = 0;

  /// One write that is on stable storage when it returns.
  virtual Task<Result<void>> write_durable(std::uint64_t offset,
                                           std::span<const std::byte> data) = 0;

  /// The range reads as zeroes afterwards; `unmap` lets the storage give the space back. What can't
  /// zero gets zeroes written.
  virtual Task<Result<void>> zero(std::uint64_t offset, std::uint64_t bytes, bool unmap) = 0;

  /// Everything that was written before is on stable storage when it returns.
  virtual Task<Result<void>> flush() = 0;

  /// Closes it and opens it as it was opened, after a failure: what is behind the path may be there
  /// again. Until that has gone well everything else fails. What was not flushed may be lost; size
  /// and identity may be others. Operations that are under way may fail.
  virtual Result<void> reopen() = 0;

  /// Gives up its claim, and reads from then on the device that the path itself names, so that a
  /// mapping may be put over that or taken away; no write may be under way. Writes fail until
  /// reopen(), by which nothing is lost then.
  virtual Result<void> step_aside() = 0;

  /// The drill that it is written beside; nothing if there is none.
  virtual std::optional<DiskDrill> drill() const = 0;
};

class DiskHost {
 public:
  virtual ~DiskHost() = default;
  /// `exclusive`: a block device must not be in use by anyone else. Errc::not_found, Errc::io with
  /// what to do.
  virtual Result<std::unique_ptr<Disk>> open(const std::string& path, bool exclusive) = 0;
};

}  // namespace cascade
