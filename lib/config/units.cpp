// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config/units.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <ctime>
#include <limits>
#include <string>
#include <utility>

namespace cascade {
namespace {

using Unit = std::pair<std::string_view, std::uint64_t>;

constexpr std::array<Unit, 5> sizes{{{"", 1},
                                     {"KiB", std::uint64_t{1} << 10},
                                     {"MiB", std::uint64_t{1} << 20},
                                     {"GiB", std::uint64_t{1} << 30},
                                     {"TiB", std::uint64_t{1} << 40}}};
constexpr std::array<Unit, 4> durations{
    {{"ms", 1}, {"s", 1000}, {"min", 60'000}, {"h", 3'600'000}}};

constexpr std::uint64_t ns_per_s = 1'000'000'000;

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

/// ".250" of a second, or nothing of it; `text` is left with what comes behind.
std::optional<std::uint64_t> take_fraction(std::string_view& text) {
  if (!text.starts_with('.')) return 0;
  text.remove_prefix(1);
  std::uint64_t ns = 0, unit = ns_per_s;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9' && unit > 1) {
    unit /= 10;
    ns += static_cast<std::uint64_t>(text.front() - '0') * unit;
    text.remove_prefix(1);
  }
  return unit == ns_per_s ? std::nullopt : std::optional(ns);
}

/// Of a whole text of that form.
std::optional<std::uint64_t> read_moment(const std::string& text, const char* form, bool utc) {
  std::tm time{};
  const char* end = ::strptime(text.c_str(), form, &time);
  if (end == nullptr) return std::nullopt;
  std::string_view rest(end);
  const auto fraction = utc ? take_fraction(rest) : 0;
  if (!fraction || rest != (utc ? "Z" : "")) return std::nullopt;
  time.tm_isdst = -1;  // as it is then
  const std::time_t s = utc ? ::timegm(&time) : std::mktime(&time);
  if (s <= 0) return std::nullopt;
  return static_cast<std::uint64_t>(s) * ns_per_s + *fraction;
}

}  // namespace

std::optional<std::uint64_t> parse_moment(std::string_view text, std::uint64_t now_ns) {
  constexpr std::string_view ago = " ago";
  if (text.ends_with(ago)) {
    const auto before = parse_duration(text.substr(0, text.size() - ago.size()));
    if (!before) return std::nullopt;
    const auto ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(*before).count());
    return ns < now_ns ? std::optional(now_ns - ns) : std::nullopt;
  }
  const std::string whole(text);
  if (const auto utc = read_moment(whole, "%Y-%m-%dT%H:%M:%S", true)) return utc;
  if (const auto local = read_moment(whole, "%Y-%m-%d %H:%M:%S", false)) return local;
  return read_moment(whole, "%Y-%m-%d %H:%M", false);
}

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
