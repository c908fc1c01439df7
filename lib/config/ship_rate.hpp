// SPDX-License-Identifier: GPL-2.0-or-later
//
// How much a hub may send its remote in a second, by the time of the day.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace cascade {

inline constexpr int minutes_a_day = 24 * 60;

/// Bytes a second; zero: nothing is sent; no value: as much as the link takes.
using Rate = std::optional<std::uint64_t>;

/// Less would be a mistake, or nothing.
inline constexpr std::uint64_t ship_rate_min = 1024;

/// "5MiB" (a second) or "unlimited"; nothing for anything else.
std::optional<Rate> parse_rate(std::string_view text);

/// A part of each day, in minutes since midnight by this machine's local time: `from` is in it,
/// `to` is not. With to <= from it goes over midnight; a whole day is from 0 to minutes_a_day.
struct RateWindow {
  int from = 0;
  int to = 0;
  Rate rate;

  bool holds(int minute) const;
  bool operator==(const RateWindow&) const = default;
};

/// "08:00-18:00", "22:00-06:00", "00:00-24:00"; without a rate. Nothing for anything else.
std::optional<RateWindow> parse_window(std::string_view text);

struct ShipRate {
  Rate usual;
  std::vector<RateWindow> windows;  // no minute is in two of them

  Rate at(int minute) const;
  bool is_limited() const { return usual || !windows.empty(); }
  bool operator==(const ShipRate&) const = default;
};

/// The minute of the day, by local time.
int minute_of_day(std::uint64_t realtime_ns);

}  // namespace cascade
