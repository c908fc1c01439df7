// SPDX-License-Identifier: GPL-2.0-or-later
//
// Time that moves when a test says so.
#pragma once

#include "daemon/io/clock.hpp"

#include <list>

namespace cascade::test {

class VirtualClock final : public Clock {
 public:
  explicit VirtualClock(const Executor& executor, TimePoint now = {})
      : executor_(executor), now_(now) {}

  void advance(Duration duration) {
    move(duration);
    wake();
  }
  /// Time passes, and nobody is woken: the program stands still.
  void move(Duration duration) { now_ += duration; }
  void wake() {
    for (Sleeper* sleeper : sleepers_)
      if (sleeper->until <= now_) sleeper->signal.notify();
  }

  TimePoint now() const override { return now_; }
  Duration boottime() const override { return now_.time_since_epoch(); }
  std::uint64_t realtime_ns() const override {
    return realtime_ns(now_) + static_cast<std::uint64_t>(stepped_.count());
  }
  /// Somebody sets the date.
  void step_realtime(std::chrono::nanoseconds by) { stepped_ += by; }
  static std::uint64_t realtime_ns(TimePoint now) {
    return realtime_base_ns +
           static_cast<std::uint64_t>(now.time_since_epoch() / std::chrono::nanoseconds(1));
  }
  std::unique_ptr<Timer> timer() override { return std::make_unique<VirtualTimer>(*this); }

 private:
  static constexpr std::uint64_t realtime_base_ns = 1'700'000'000'000'000'000;

  struct Sleeper {
    TimePoint until;
    Signal signal;
    bool cancelled = false;
  };

  class VirtualTimer final : public Timer {
   public:
    explicit VirtualTimer(VirtualClock& clock) : clock_(clock) {}

    Task<> sleep(Duration duration) override;
    void cancel() override {
      if (current_ == nullptr) return;
      current_->cancelled = true;
      current_->signal.notify();
    }

   private:
    VirtualClock& clock_;
    Sleeper* current_ = nullptr;
  };

  Executor executor_;
  TimePoint now_;
  std::chrono::nanoseconds stepped_{};
  std::list<Sleeper*> sleepers_;
};

}  // namespace cascade::test
