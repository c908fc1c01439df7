// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lines for the administrator: changes of state, never one a write. Go to standard error, with the
// priority prefix that systemd's journal understands when it reads us. Never blocks: a reader that
// does not keep up loses lines, not replication.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace cascade::report {

enum class Level { error = 3, warning = 4, notice = 5, info = 6 };

/// Where the times of lines come from: CLOCK_REALTIME in nanoseconds. Set before other threads log;
/// the system's clock until then.
void time_from(std::function<std::uint64_t()> now_ns);

/// `subject` is what the line is about: "shop", "shop/orders", "link p1-h".
void log(Level level, std::string_view subject, std::string_view text);

}  // namespace cascade::report
