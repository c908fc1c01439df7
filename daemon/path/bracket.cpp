// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/bracket.hpp"

#include <algorithm>
#include <span>

namespace cascade {

void Bracket::load() {
  for (const auto& [uuid, place] : journal_.places().volumes())
    if (place.standing.mark != CASCADE_MARK_ATTACHED) apart_[uuid].standing = place.standing;
}

void Bracket::mark(const Uuid& volume, cascade_mark mark, std::uint8_t why) {
  const std::uint64_t now = clock_.realtime_ns();
  Record record = make_mark(volume, mark, static_cast<cascade_mark_why>(why), now);
  set_group_seq(record, journal_.next_seq());
  journal_.append(make_incoming(std::span(&record, 1), {}));
  if (mark == CASCADE_MARK_ATTACHED)
    apart_.erase(volume);
  else if (Standing& standing = apart_[volume].standing; standing.mark != mark)
    standing = {static_cast<std::uint8_t>(mark), why, now};
}

void Bracket::detach(const Uuid& volume, cascade_mark_why why) {
  const auto found = apart_.find(volume);
  if (found != apart_.end() && found->second.standing.mark == CASCADE_MARK_DETACHED) return;
  mark(volume, CASCADE_MARK_DETACHED, why);
}

void Bracket::came_back(const Uuid& volume, const Back& back) {
  const auto found = apart_.find(volume);
  const bool in_order = found == apart_.end();
  if (in_order && !back.out_of_sync) return;
  const bool detached = !in_order && found->second.standing.mark == CASCADE_MARK_DETACHED;
  const std::uint8_t why =
      back.out_of_sync ? static_cast<std::uint8_t>(CASCADE_WHY_RESYNC) : found->second.standing.why;
  // Left behind before; what it sends now is one step for the others.
  if (!detached && (back.out_of_sync || back.last > back.received))
    mark(volume, CASCADE_MARK_DETACHED, why);
  Apart& apart = apart_[volume];
  const bool again = apart.awaited && apart.awaited->incarnation == back.incarnation;
  apart.awaited = {back.incarnation, again ? std::min(back.last, apart.awaited->last) : back.last};
  apart.resync = back.out_of_sync;
  apart.confirmed = back.confirmed;
  arrived(volume, back.received);
}

void Bracket::confirm(const Uuid& volume, std::uint64_t received) {
  const auto found = apart_.find(volume);
  if (found == apart_.end()) return;
  found->second.confirmed = true;
  arrived(volume, received);
}

void Bracket::lease_over(const Uuid& volume) {
  // One that was left behind stays so.
  if (!apart_.contains(volume)) mark(volume, CASCADE_MARK_DETACHED, CASCADE_WHY_ALONE);
  apart_[volume].confirmed = false;
}

bool Bracket::may_resync(const Uuid& volume) const {
  const auto found = apart_.find(volume);
  return found != apart_.end() && found->second.resync;
}

void Bracket::resynced(const Uuid& volume, std::uint64_t received) {
  const auto found = apart_.find(volume);
  if (found == apart_.end()) return;
  found->second.resync = false;
  arrived(volume, received);
}

void Bracket::arrived(const Uuid& volume, std::uint64_t received) {
  const auto found = apart_.find(volume);
  if (found == apart_.end()) return;
  const Apart& apart = found->second;
  if (!apart.awaited || !apart.confirmed || received < apart.awaited->last || apart.resync) return;
  mark(volume, CASCADE_MARK_ATTACHED, apart.standing.why);
}

Result<void> Bracket::leave(const Uuid& volume) {
  const auto found = apart_.find(volume);
  if (found == apart_.end() || found->second.standing.mark != CASCADE_MARK_DETACHED)
    return Error{Errc::refused, "the group's bracket does not wait for this volume"};
  mark(volume, CASCADE_MARK_LEFT, found->second.standing.why);
  return {};
}

void Bracket::repeat() {
  for (const auto& [uuid, apart] : apart_)
    mark(uuid, static_cast<cascade_mark>(apart.standing.mark), apart.standing.why);
}

}  // namespace cascade
