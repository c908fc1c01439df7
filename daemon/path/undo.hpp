// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lets copies go past an open bracket that the journal can't hold, and back again: what a region
// held at the bracket's limit X is kept on a device of its own before it is written over.
#pragma once

#include "daemon/io/disk.hpp"
#include "daemon/path/batch.hpp"
#include "lib/journal/undo_log.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace cascade {

class Undo {
 public:
  using Copies = std::map<Uuid, std::unique_ptr<Disk>>;
  struct Range {
    Uuid volume{};
    std::uint64_t begin = 0, end = 0;  // bytes
  };

  /// `disk` outlives it.
  explicit Undo(Disk& disk) : disk_(disk), size_(disk.bytes()) {}

  /// Goes on with the log of that bracket, if the device has it.
  Task<Result<void>> open(UndoLog log);
  /// Begins the log of that bracket anew, if this is not it; the copies hold no more than its
  /// limit.
  Task<Result<void>> begin(UndoLog log);
  /// Whether what copies held at the limit of that bracket can be had again.
  bool holds(const UndoLog& log) const { return entries_ > 0 && log_ == log; }
  /// The log is worth nothing from now on.
  Task<Result<void>> abandon();

  /// What the ranges hold is on stable storage when it returns. Volumes without a copy are left
  /// out. Errc::full: there is no room for all of it, and nothing was written.
  Task<Result<void>> keep(const Copies& copies, const std::vector<Range>& ranges);
  /// Writes everything back, and flushes the copies: they are as of the limit again, if they held
  /// everything through it. Errc::corrupt.
  Task<Result<void>> restore(const Copies& copies);

  std::uint64_t used_bytes() const { return end_; }
  /// Of the device as it was when it was last looked at.
  std::uint64_t size_bytes() const { return size_; }
  /// Looks again: whether it has grown.
  bool has_grown() {
    const std::uint64_t before = size_;
    size_ = std::max(size_, disk_.bytes_now());
    return size_ > before;
  }
  const std::string& path() const { return disk_.path(); }

 private:
  struct Region {
    Uuid volume{};
    std::uint64_t offset = 0;
    std::uint32_t bytes = 0;
    Disk* copy = nullptr;
  };
  void forget();
  Task<Result<std::optional<UndoEntry>>> read_entry(std::uint64_t index, std::uint64_t at,
                                                    AlignedBuffer& buffer);
  std::vector<Region> missing(const Copies& copies, const std::vector<Range>& ranges) const;
  void note(const Uuid& volume, std::uint64_t offset);
  Task<Result<void>> write_entries(std::span<const Region> regions);

  Disk& disk_;
  std::uint64_t size_;
  UndoLog log_;
  std::uint64_t entries_ = 0;
  std::uint64_t end_ = 0;                   // bytes of the device that are in use
  std::map<Uuid, std::vector<bool>> kept_;  // by region of undo_region_bytes
};

}  // namespace cascade
