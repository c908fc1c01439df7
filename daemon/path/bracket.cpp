// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/bracket.hpp"

#include <algorithm>
#include <cstring>

namespace cascade {
namespace {

/// One record in a frame of its own.
Incoming alone(const Record& record) {
  Incoming in;
  in.body_bytes = sizeof record;
  in.body = std::make_unique<std::byte[]>(sizeof record);
  std::memcpy(in.body.get(), &record, sizeof record);
  in.records = {reinterpret_cast<Record*>(in.body.get()), 1};
  return in;
}

}  // namespace

void Bracket::load() {
  for (const auto& [uuid, place] : journal_.places().volumes())
    if (place.standing.mark != CASCADE_MARK_ATTACHED) apart_[uuid].standing = place.standing;
}

void Bracket::mark(const Uuid& volume, cascade_mark mark, std::uint8_t why) {
  const std::uint64_t now = clock_.realtime_ns();
  Record record = make_mark(volume, mark, static_cast<cascade_mark_why>(why), now);
  set_group_seq(record, journal_.next_seq());
  journal_.append(alone(record));
  if (mark == CASCADE_MARK_ATTACHED)
    apart_.erase(volume);
  else
    apart_[volume].standing = {static_cast<std::uint8_t>(mark), why, now};
}

void Bracket::detach(const Uuid& volume, cascade_mark_why why) {
  const auto found = apart_.find(volume);
  if (found != apart_.end()) found->second.awaited.reset();
  if (found != apart_.end() && found->second.standing.mark == CASCADE_MARK_DETACHED) return;
  mark(volume, CASCADE_MARK_DETACHED, why);
}

void Bracket::came_back(const Uuid& volume, const Uuid& incarnation, std::uint64_t last,
                        std::uint64_t received) {
  const auto found = apart_.find(volume);
  if (found == apart_.end()) return;
  Apart& apart = found->second;
  // Left behind before; what it sends now is one step for the others.
  if (apart.standing.mark == CASCADE_MARK_LEFT && last > received)
    mark(volume, CASCADE_MARK_DETACHED, apart.standing.why);
  const bool again = apart.awaited && apart.awaited->incarnation == incarnation;
  apart.awaited = {incarnation, again ? std::min(last, apart.awaited->last) : last};
  arrived(volume, received);
}

void Bracket::arrived(const Uuid& volume, std::uint64_t received) {
  const auto found = apart_.find(volume);
  if (found == apart_.end() || !found->second.awaited || received < found->second.awaited->last)
    return;
  mark(volume, CASCADE_MARK_ATTACHED, found->second.standing.why);
}

Result<void> Bracket::leave(const Uuid& volume) {
  const auto found = apart_.find(volume);
  if (found == apart_.end() || found->second.standing.mark != CASCADE_MARK_DETACHED)
    return Error{Errc::refused, "the group's bracket does not wait for this volume"};
  mark(volume, CASCADE_MARK_LEFT, found->second.standing.why);
  return {};
}

}  // namespace cascade
