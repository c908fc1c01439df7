// SPDX-License-Identifier: GPL-2.0-or-later
//
// Linux native AIO (libaio) behind the Disk seam: direct I/O on block devices and files, one
// submission for many writes, completions through an eventfd in the group's event loop.
#pragma once

#include "daemon/io/disk.hpp"

#include <memory>
#include <string>

namespace cascade::os {

/// One a group; must outlive its disks. Takes nothing of the machine's limits before the first disk
/// is opened: a primary needs none.
class AioContext : public DiskHost {
 public:
  static std::unique_ptr<AioContext> create(asio::io_context& io);

  /// Stops waiting for completions, once nothing is under way.
  virtual void close() = 0;
};

}  // namespace cascade::os
