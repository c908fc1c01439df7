// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/report/log.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

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

std::string prefix(Level level) {
  if (read_by_journal()) return fmt::format("<{}>", static_cast<int>(level));
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
  return fmt::format("{:%H:%M:%S}.{:03} ",
                     fmt::localtime(std::chrono::system_clock::to_time_t(now)), ms.count() % 1000);
}

}  // namespace

void log(Level level, std::string_view subject, std::string_view text) {
  const std::string line = fmt::format("{}{}: {}\n", prefix(level), subject, text);
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&ready, 1, 0) != 1) return;
  // A partial or failed write loses the line; there is nobody left to tell.
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

}  // namespace cascade::report
