// SPDX-License-Identifier: GPL-2.0-or-later
//
// How long something that becomes less will still take, from how fast it did so far.
#pragma once

#include "daemon/io/clock.hpp"

#include <cstdint>
#include <optional>

namespace cascade {

class Progress {
 public:
  /// What is left now; looked at as often as somebody asks. More than before begins anew.
  void sample(Duration now, std::uint64_t left) {
    if (!at_ || left > left_ || left == 0) {
      at_ = now;
      left_ = left;
      per_second_.reset();
      return;
    }
    const double seconds = std::chrono::duration<double>(now - *at_).count();
    if (seconds < interval_seconds) return;
    const double speed = static_cast<double>(left_ - left) / seconds;
    // The older half of what is known counts as much as the newest look.
    per_second_ = per_second_ ? (*per_second_ + speed) / 2 : speed;
    at_ = now;
    left_ = left;
  }
  /// Nothing if nothing is left, or nothing is known yet, or it stands still.
  std::optional<double> seconds_left() const {
    if (left_ == 0 || !per_second_ || *per_second_ <= 0) return std::nullopt;
    return static_cast<double>(left_) / *per_second_;
  }

 private:
  static constexpr double interval_seconds = 1;

  std::optional<Duration> at_;
  std::uint64_t left_ = 0;
  std::optional<double> per_second_;
};

}  // namespace cascade
