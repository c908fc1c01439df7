// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "daemon/io/worker.hpp"

namespace cascade::test {

/// Computes at once, on the thread that asks.
class DirectWorker final : public Worker {
 public:
  Task<> run(const std::function<void()>& job) override {
    job();
    co_return;
  }
};

}  // namespace cascade::test
