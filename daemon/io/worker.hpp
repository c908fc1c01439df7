// SPDX-License-Identifier: GPL-2.0-or-later
//
// Seam: a thread beside a group's own, for what computes long. Production has one a group
// (os/worker.cpp), made when it is first needed; a simulator computes at once.
#pragma once

#include "daemon/io/task.hpp"

#include <functional>

namespace cascade {

class Worker {
 public:
  virtual ~Worker() = default;
  /// Runs `job` there, and comes back when it is done; it and what it refers to has to live as
  /// long.
  virtual Task<> run(const std::function<void()>& job) = 0;
};

}  // namespace cascade
