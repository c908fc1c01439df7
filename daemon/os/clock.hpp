// SPDX-License-Identifier: GPL-2.0-or-later
// The system's clocks behind the Clock seam.
#pragma once

#include "daemon/io/clock.hpp"

namespace cascade::os {

class SystemClock final : public Clock {
 public:
  explicit SystemClock(const Executor& executor) : executor_(executor) {}
  TimePoint now() const override;
  Duration boottime() const override;
  std::uint64_t realtime_ns() const override;
  std::unique_ptr<Timer> timer() override;

 private:
  Executor executor_;
};

}  // namespace cascade::os
