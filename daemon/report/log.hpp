// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lines for the administrator: changes of state, never one a write. Go to standard error, with the
// priority prefix that systemd's journal understands when it reads us. Never blocks: a reader that
// does not keep up loses lines, not replication.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

namespace cascade::report {

enum class Level { error = 3, warning = 4, notice = 5, info = 6 };

/// Where the times of lines come from: CLOCK_REALTIME in nanoseconds. Set before other threads log;
/// the system's clock until then.
void time_from(std::function<std::uint64_t()> now_ns);

/// Bounds lines that a peer, or a broken link, can cause without end: some at once, then one every
/// half minute.
class Budget {
 public:
  /// Whether a line may be written now; what was left out since the last one is counted.
  bool spend(std::chrono::steady_clock::time_point now);
  std::uint64_t left_out() const { return left_out_; }
  /// They have been told.
  void forget() { left_out_ = 0; }

 private:
  static constexpr int lines_at_once = 12;
  int lines_ = lines_at_once;
  std::chrono::steady_clock::time_point refilled_{};
  std::uint64_t left_out_ = 0;
};

/// `subject` is what the line is about: "shop", "shop/orders", "link p1-h".
void log(Level level, std::string_view subject, std::string_view text);
/// The same within a budget.
void log(Budget& budget, std::chrono::steady_clock::time_point now, Level level,
         std::string_view subject, std::string_view text);

}  // namespace cascade::report
