// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/journal/places.hpp"

#include <algorithm>

namespace cascade {

void Places::may_have_written_through(std::uint64_t group_seq) {
  for (auto& [uuid, place] : volumes_) place.group_seq = group_seq;
}

void Places::follow(const Record& record) {
  if (record.op == CASCADE_OP_MARK && CASCADE_MARK_OF(sector_of(record)) == CASCADE_MARK_CAUGHT_UP)
    return follow_caught_up(record);
  VolumePlace& place = volumes_[volume_of(record)];
  place.group_seq = group_seq_of(record);
  if (place.group_seq <= known_seq_) return;
  if (record.op == CASCADE_OP_MARK)
    follow_mark(place, record);
  else
    place.volume_seq = volume_seq_of(record);
}

void Places::follow_mark(VolumePlace& place, const Record& record) {
  const auto mark = static_cast<std::uint8_t>(CASCADE_MARK_OF(sector_of(record)));
  if (mark == CASCADE_MARK_DETACHED && limit_seq_ == no_limit)
    limit_seq_ = group_seq_of(record) - 1;
  const Standing before = place.standing;
  place.standing = {};
  if (mark != CASCADE_MARK_ATTACHED)
    place.standing = {mark, static_cast<std::uint8_t>(CASCADE_WHY_OF(sector_of(record))),
                      before.mark == mark ? before.since_ns : primary_time_ns_of(record)};
  close_if_whole();
}

void Places::jump(std::uint64_t from, std::uint64_t to) {
  if (to <= known_seq_) return;
  if (limit_seq_ == no_limit) limit_seq_ = from;
  gap_ = {from + 1, to};
  // How they stand now the hub says before it says that all has been made up for.
  for (auto& [uuid, place] : volumes_) place.standing = {};
}

/// One that was made before the last jump does not know of all that was jumped over.
void Places::follow_caught_up(const Record& record) {
  if (group_seq_of(record) <= known_seq_ || volume_seq_of(record) < gap_.last) return;
  gap_ = {};
  close_if_whole();
}

void Places::close_if_whole() {
  if (gap_.last == 0 && !anyone_detached()) limit_seq_ = no_limit;
}

bool Places::anyone_detached() const {
  return std::any_of(volumes_.begin(), volumes_.end(), [](const auto& entry) {
    return entry.second.standing.mark == CASCADE_MARK_DETACHED;
  });
}

const VolumePlace& Places::at(const Uuid& volume) const {
  static const VolumePlace nowhere;
  const auto found = volumes_.find(volume);
  return found == volumes_.end() ? nowhere : found->second;
}

}  // namespace cascade
