// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/os/worker.hpp"

#include "daemon/os/thread_call.hpp"

namespace cascade::os {

Task<> ThreadWorker::run(const std::function<void()>& job) {
  if (!thread_) thread_.emplace(1);
  // Named, for g++ 12; see thread_call.hpp.
  auto call = [&job] {
    job();
    return 0;
  };
  co_await run_on<int>(*thread_, std::move(call));
}

}  // namespace cascade::os
