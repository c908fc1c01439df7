// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "daemon/io/worker.hpp"

#include <boost/asio/thread_pool.hpp>

#include <optional>

namespace cascade::os {

class ThreadWorker final : public Worker {
 public:
  ~ThreadWorker() override { join(); }

  Task<> run(const std::function<void()>& job) override;
  /// Waits for the job that is under way: what it refers to may go then.
  void join() {
    if (thread_) thread_->join();
  }

 private:
  std::optional<asio::thread_pool> thread_;
};

}  // namespace cascade::os
