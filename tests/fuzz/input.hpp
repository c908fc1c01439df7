// SPDX-License-Identifier: GPL-2.0-or-later
// Values out of a fuzzer's bytes; zeroes when they are used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cascade::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t bytes)
      : rest_(reinterpret_cast<const std::byte*>(data), bytes) {}

  template <class T>
  T get() {
    T value{};
    const std::size_t n = std::min(sizeof value, rest_.size());
    std::memcpy(&value, rest_.data(), n);
    rest_ = rest_.subspan(n);
    return value;
  }

  /// Mostly small, now and then anything: what sequence numbers and sectors are best tried with.
  std::uint64_t number() {
    const auto kind = get<std::uint8_t>();
    return kind < 224 ? kind % 16 : kind < 248 ? get<std::uint16_t>() : get<std::uint64_t>();
  }

  bool empty() const { return rest_.empty(); }
  std::span<const std::byte> rest() const { return rest_; }

 private:
  std::span<const std::byte> rest_;
};

/// What must hold whatever the input is.
inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace cascade::fuzz
