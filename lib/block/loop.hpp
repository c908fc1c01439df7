// SPDX-License-Identifier: GPL-2.0-or-later
//
// A block device made of a file without a name: it is gone, and its space free again, when nobody
// has the device any more.
#pragma once

#include "lib/base/result.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace cascade {

class LoopDevice {
 public:
  /// In this folder, which has to have room for all of it. Errc::full, not_found (no such folder,
  /// or no loop driver), io.
  static Result<LoopDevice> make(const std::string& folder, std::uint64_t bytes);

  LoopDevice(LoopDevice&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
  LoopDevice& operator=(LoopDevice&&) = delete;
  /// Whoever has opened it by then keeps it.
  ~LoopDevice();

  /// "/dev/loop3"
  const std::string& path() const { return path_; }

 private:
  LoopDevice(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_;
  std::string path_;
};

}  // namespace cascade
