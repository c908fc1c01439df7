// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/io/task.hpp"

namespace cascade {

asio::execution_context::id Signals::id;

void Signals::add(Signal& signal) { all_.push_back(signal); }

void Signals::shutdown() {
  over_ = true;
  while (!all_.empty()) {
    Signal& signal = static_cast<Signal&>(all_.front());
    all_.pop_front();
    // Destroys coroutines, and with them other signals, or this one.
    const auto waiting = std::move(signal.waiting_);
  }
}

}  // namespace cascade
