// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/os/clock.hpp"

#include <boost/asio/basic_waitable_timer.hpp>

#include <chrono>
#include <ctime>

namespace cascade::os {
namespace {

class SystemTimer final : public Timer {
 public:
  explicit SystemTimer(const Executor& executor) : timer_(executor) {}

  Task<> sleep(Duration duration) override {
    timer_.expires_after(duration);
    co_await timer_.async_wait(use_tuple);
  }
  void cancel() override { timer_.cancel(); }

 private:
  asio::basic_waitable_timer<std::chrono::steady_clock,
                             asio::wait_traits<std::chrono::steady_clock>, Executor>
      timer_;
};

}  // namespace

TimePoint SystemClock::now() const { return std::chrono::steady_clock::now(); }

Duration SystemClock::boottime() const {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

std::uint64_t SystemClock::realtime_ns() const {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count());
}

std::unique_ptr<Timer> SystemClock::timer() { return std::make_unique<SystemTimer>(executor_); }

}  // namespace cascade::os
