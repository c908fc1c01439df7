// SPDX-License-Identifier: GPL-2.0-or-later
//
// An event loop that can be given up with everything that waits in it.
#pragma once

#include "daemon/io/task.hpp"

namespace cascade {

class Loop : public asio::io_context {
 public:
  /// For one thread.
  Loop() : asio::io_context(1) {}

  /// Destroys every coroutine that waits here, where it stands, as kill -9 would: none goes on, and
  /// their destructors do no I/O. Call it while what they refer to is still there, and no thread
  /// runs the loop; after it the loop is good for nothing but to be destroyed, after all that
  /// stands on it.
  void abandon() { shutdown(); }
};

}  // namespace cascade
