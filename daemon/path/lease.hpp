// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hub's side of the lease. A primary with `fence-level never` may go on without the hub, but
// not before its lease has run out; the hub has detached the volume by then, so nobody takes the
// hub's copy for whole. Both count on clocks that go on while a machine sleeps, and neither
// compares them:
//
//   hub      t: renewal n is sent          n is echoed: the lease ends at t + lease
//   primary       r >= t: n is taken, the lease ends at r + lease + lease_margin(lease)
//
// A renewal is echoed only once the primary's kernel has taken it, so the hub's end always comes
// first, by the margin, however long anything was under way: Gray and Cheriton, "Leases" (SOSP
// 1989).
#pragma once

#include "daemon/io/clock.hpp"
#include "lib/base/uuid.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

namespace cascade {

/// By how much a primary waits longer than the hub: for what two clocks may differ in speed, and
/// for the hub's mark to be written.
constexpr Duration lease_margin(Duration lease) { return lease / 4; }

/// Renewals of one session, and when each was sent.
class Renewals {
 public:
  /// The number of one that is sent now or later; the first is 1. Once too many are not echoed it
  /// is the last one's again.
  std::uint64_t make(Duration now);
  /// When the renewal that is echoed was made; nothing if it is none of ours, or not news.
  std::optional<Duration> echoed(std::uint64_t number);

 private:
  static constexpr std::size_t unanswered_max = 256;

  std::uint64_t first_ = 1;    // number of the front of `made_`
  std::deque<Duration> made_;  // those that are not echoed
};

/// Until when each volume's primary does not go on alone.
class Leases {
 public:
  /// Never shortens one.
  void extend(const Uuid& volume, Duration until);
  void drop(const Uuid& volume) { until_.erase(volume); }
  /// Those that have run out; they are dropped.
  std::vector<Uuid> take_expired(Duration now);
  std::optional<Duration> until(const Uuid& volume) const;

 private:
  std::map<Uuid, Duration> until_;
};

}  // namespace cascade
