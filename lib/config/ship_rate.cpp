// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config/ship_rate.hpp"

#include "lib/config/units.hpp"

#include <algorithm>
#include <charconv>
#include <ctime>

namespace cascade {
namespace {

std::optional<int> two_digits(std::string_view text) {
  int number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc{} || end != text.data() + text.size() || text.size() != 2 || number < 0)
    return std::nullopt;
  return number;
}

/// "18:30" in minutes; "24:00" is the end of the day.
std::optional<int> parse_minute(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  const auto hours = two_digits(text.substr(0, 2)), minutes = two_digits(text.substr(3));
  if (!hours || !minutes || *minutes >= 60) return std::nullopt;
  const int minute = *hours * 60 + *minutes;
  return minute <= minutes_a_day ? std::optional(minute) : std::nullopt;
}

}  // namespace

std::optional<Rate> parse_rate(std::string_view text) {
  if (text == "unlimited") return Rate{};
  const auto bytes = parse_size(text);
  if (!bytes) return std::nullopt;
  return Rate{*bytes};
}

bool RateWindow::holds(int minute) const {
  return from < to ? minute >= from && minute < to : minute >= from || minute < to;
}

std::optional<RateWindow> parse_window(std::string_view text) {
  if (text.size() != 11 || text[5] != '-') return std::nullopt;
  const auto from = parse_minute(text.substr(0, 5)), to = parse_minute(text.substr(6));
  if (!from || !to || *from == *to || *from == minutes_a_day) return std::nullopt;
  return RateWindow{*from, *to, {}};
}

Rate ShipRate::at(int minute) const {
  const auto window = std::find_if(windows.begin(), windows.end(),
                                   [minute](const RateWindow& w) { return w.holds(minute); });
  return window == windows.end() ? usual : window->rate;
}

int minute_of_day(std::uint64_t realtime_ns) {
  const auto seconds = static_cast<std::time_t>(realtime_ns / 1'000'000'000);
  std::tm local{};
  if (::localtime_r(&seconds, &local) == nullptr) return 0;
  return local.tm_hour * 60 + local.tm_min;
}

}  // namespace cascade
