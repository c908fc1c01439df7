// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/double/virtual_clock.hpp"

namespace cascade::test {

Task<> VirtualClock::VirtualTimer::sleep(Duration duration) {
  Sleeper sleeper{clock_.now_ + duration, Signal(clock_.executor_)};
  const auto place = clock_.sleepers_.insert(clock_.sleepers_.end(), &sleeper);
  current_ = &sleeper;
  while (clock_.now_ < sleeper.until && !sleeper.cancelled) co_await sleeper.signal.wait();
  current_ = nullptr;
  clock_.sleepers_.erase(place);
}

}  // namespace cascade::test
