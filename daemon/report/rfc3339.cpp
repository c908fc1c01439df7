// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/report/rfc3339.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

namespace cascade::report {

std::string rfc3339(std::uint64_t realtime_ns) {
  const std::uint64_t ms = realtime_ns / 1'000'000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(static_cast<std::time_t>(ms / 1000)), ms % 1000);
}

}  // namespace cascade::report
