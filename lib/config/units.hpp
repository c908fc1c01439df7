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

/// "100ms", "5s", "2min"; nothing for anything else.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// The same back, in the largest unit that it is a whole number of.
std::string human_duration(std::chrono::milliseconds duration);

/// "8 MiB", "1.5 GiB", "17 B".
std::string human_bytes(std::uint64_t bytes);

}  // namespace cascade
