// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/report/log.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include <poll.h>
#include <unistd.h>

namespace cascade::report {
namespace {

bool read_by_journal() {
  static const bool is = std::getenv("JOURNAL_STREAM") != nullptr;
  return is;
}

std::uint64_t system_now_ns() {
  return static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch() /
                                    std::chrono::nanoseconds(1));
}

std::function<std::uint64_t()>& now_ns() {
  static std::function<std::uint64_t()> now = system_now_ns;
  return now;
}

std::string prefix(Level level) {
  if (read_by_journal()) return fmt::format("<{}>", static_cast<int>(level));
  const std::uint64_t ms = now_ns()() / 1'000'000;
  return fmt::format("{:%H:%M:%S}.{:03} ", fmt::localtime(static_cast<std::time_t>(ms / 1000)),
                     ms % 1000);
}

}  // namespace

void time_from(std::function<std::uint64_t()> now) { now_ns() = std::move(now); }

void log(Level level, std::string_view subject, std::string_view text) {
  const std::string line = fmt::format("{}{}: {}\n", prefix(level), subject, text);
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&ready, 1, 0) != 1) return;
  // A partial or failed write loses the line; there is nobody left to tell.
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

bool Budget::spend(std::chrono::steady_clock::time_point now) {
  constexpr std::chrono::seconds interval{30};
  const auto due = (now - refilled_) / interval;
  if (due > 0) {
    lines_ = static_cast<int>(std::min<std::int64_t>(lines_ + due, lines_at_once));
    refilled_ = now;
  }
  if (lines_ == 0) {
    left_out_ += 1;
    return false;
  }
  lines_ -= 1;
  return true;
}

void log(Budget& budget, std::chrono::steady_clock::time_point now, Level level,
         std::string_view subject, std::string_view text) {
  const std::uint64_t before = budget.left_out();
  if (!budget.spend(now)) return;
  log(level, subject,
      before == 0 ? std::string(text)
                  : fmt::format("{} ({} lines like it were left out)", text, before));
  budget.forget();
}

}  // namespace cascade::report
