// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/ranges.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace cascade {
namespace {

std::uint64_t end_of(const Verified::Range& range) { return range.begin + range.bytes; }

}  // namespace

std::uint64_t bytes_of(const Ranges& ranges) {
  return std::accumulate(
      ranges.begin(), ranges.end(), std::uint64_t{0},
      [](std::uint64_t sum, const Verified::Range& range) { return sum + range.bytes; });
}

Ranges united(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  Ranges out;
  for (const auto& range : ranges) {
    if (out.empty() || end_of(out.back()) < range.begin)
      out.push_back(range);
    else
      out.back().bytes = std::max(end_of(out.back()), end_of(range)) - out.back().begin;
  }
  return out;
}

Ranges common(const Ranges& a, const Ranges& b) {
  Ranges out;
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
    const std::uint64_t begin = std::max(x->begin, y->begin);
    const std::uint64_t end = std::min(end_of(*x), end_of(*y));
    if (begin < end) out.push_back({begin, end - begin});
    end_of(*x) < end_of(*y) ? void(++x) : void(++y);
  }
  return out;
}

Ranges without(const Ranges& a, const Ranges& b) {
  Ranges out;
  for (const auto& range : a) {
    std::uint64_t at = range.begin;
    for (const auto& hole : common({range}, b)) {
      if (at < hole.begin) out.push_back({at, hole.begin - at});
      at = end_of(hole);
    }
    if (at < end_of(range)) out.push_back({at, end_of(range) - at});
  }
  return out;
}

}  // namespace cascade
