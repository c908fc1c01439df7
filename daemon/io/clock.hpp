// SPDX-License-Identifier: GPL-2.0-or-later
//
// Seam: time. Production reads the system's clocks (os/clock.cpp); a simulator invents them.
#pragma once

#include "daemon/io/task.hpp"

#include <chrono>
#include <cstdint>
#include <memory>

namespace cascade {

/// Monotonic: for time-outs and intervals.
using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

/// One sleeper. cancel() ends a sleep early, from the same thread.
class Timer {
 public:
  virtual ~Timer() = default;
  virtual Task<> sleep(Duration duration) = 0;
  virtual void cancel() = 0;
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  /// Since some moment before this program began; goes on while the machine sleeps, as leases have
  /// to (CLOCK_BOOTTIME).
  virtual Duration boottime() const = 0;
  /// CLOCK_REALTIME in nanoseconds: for people and for lag, never for order.
  virtual std::uint64_t realtime_ns() const = 0;
  virtual std::unique_ptr<Timer> timer() = 0;
};

}  // namespace cascade
