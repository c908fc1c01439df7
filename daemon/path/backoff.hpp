// SPDX-License-Identifier: GPL-2.0-or-later
//
// How long to wait before the next try: each time twice as long, up to a bound.
#pragma once

#include "daemon/io/clock.hpp"

#include <algorithm>

namespace cascade {

class Backoff {
 public:
  Backoff(Duration min, Duration max) : min_(min), max_(max) {}
  /// For what depends on a device: one that is only late is waited for at first, later nobody is
  /// disturbed by what is gone for good.
  static Backoff for_devices() {
    return {std::chrono::milliseconds(500), std::chrono::seconds(15)};
  }

  Duration next() { return last_ = std::clamp(last_ * 2, min_, max_); }
  /// It went well.
  void reset() { last_ = {}; }

 private:
  Duration min_, max_;
  Duration last_{};
};

}  // namespace cascade
