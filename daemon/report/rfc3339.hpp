// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>

namespace cascade::report {

/// "2026-11-23T08:30:00.123Z"; `realtime_ns` is CLOCK_REALTIME.
std::string rfc3339(std::uint64_t realtime_ns);

}  // namespace cascade::report
