// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sizes and durations as people write them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cascade {

/// "512", "64KiB", "8MiB", "512GiB", "1TiB" in bytes; nothing for anything else.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// "100ms", "5s", "2min", "1h"; nothing for anything else.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// A moment that is over: "15min ago", "2026-11-29 14:02" or "2026-11-29 14:02:11" by the local
/// time, "2026-11-29T14:02:11Z" or "...:11.250Z"; nothing for anything else. CLOCK_REALTIME,
/// nanoseconds.
std::optional<std::uint64_t> parse_moment(std::string_view text, std::uint64_t now_ns);

/// The same back, in the largest unit that it is a whole number of.
std::string human_duration(std::chrono::milliseconds duration);

/// "8 MiB", "1.5 GiB", "17 B".
std::string human_bytes(std::uint64_t bytes);

}  // namespace cascade
