// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config/units.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace cascade {
namespace {

using Unit = std::pair<std::string_view, std::uint64_t>;

constexpr std::array<Unit, 5> sizes{{{"", 1},
                                     {"KiB", std::uint64_t{1} << 10},
                                     {"MiB", std::uint64_t{1} << 20},
                                     {"GiB", std::uint64_t{1} << 30},
                                     {"TiB", std::uint64_t{1} << 40}}};
constexpr std::array<Unit, 3> durations{{{"ms", 1}, {"s", 1000}, {"min", 60'000}}};

template <std::size_t n>
std::optional<std::uint64_t> parse(std::string_view text, const std::array<Unit, n>& units) {
  std::uint64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  while (text.starts_with(' ')) text.remove_prefix(1);
  for (const auto& [name, factor] : units)
    if (text == name && number <= std::numeric_limits<std::int64_t>::max() / factor)
      return number * factor;
  return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) { return parse(text, sizes); }

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto ms = parse(text, durations);
  if (!ms) return std::nullopt;
  return std::chrono::milliseconds(*ms);
}

std::string human_duration(std::chrono::milliseconds duration) {
  const auto ms = static_cast<std::uint64_t>(duration.count());
  std::string out;
  for (const auto& [name, factor] : durations)
    if (ms % factor == 0) out = fmt::format("{}{}", ms / factor, name);
  return out;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 6> names{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < names.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 || value == static_cast<double>(static_cast<std::uint64_t>(value))
             ? fmt::format("{:.0f} {}", value, names[unit])
             : fmt::format("{:.1f} {}", value, names[unit]);
}

}  // namespace cascade
