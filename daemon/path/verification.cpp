// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/verification.hpp"

namespace cascade {
namespace {

void add_range(std::vector<Verified::Range>& ranges, const Record& record) {
  const std::uint64_t begin = sector_of(record) * CASCADE_SECTOR_BYTES;
  if (!ranges.empty() && ranges.back().begin + ranges.back().bytes == begin)
    ranges.back().bytes += length_of(record);
  else if (ranges.size() < limits::verified_ranges_max)
    ranges.push_back({begin, length_of(record)});
}

}  // namespace

void Verification::note(const Record& record, Outcome outcome, std::uint64_t now_ns) {
  const Uuid volume = volume_of(record);
  const auto [at, fresh] = all_.try_emplace({volume, node_});
  Entry& entry = at->second;
  Verified& found = entry.found;
  const bool numbered_back = volume_seq_of(record) <= found.through;
  // As after a copy has failed: what is known of it was whole then. A volume that is numbered anew
  // makes later records.
  if (numbered_back && primary_time_ns_of(record) <= entry.last_time_ns) return;
  if (fresh || numbered_back || sector_of(record) <= entry.last_sector) {
    found = {volume, node_};
    found.run = now_ns;
  }
  entry.last_sector = sector_of(record);
  entry.last_time_ns = primary_time_ns_of(record);
  found.through = volume_seq_of(record);
  (outcome == Outcome::skipped ? found.skipped : found.compared) += length_of(record);
  if (outcome == Outcome::differs) {
    found.differing += length_of(record);
    add_range(found.ranges, record);
  }
  entry.change = ++changes_;
}

void Verification::learn(Verified theirs) {
  const std::pair key(theirs.volume, theirs.node);
  all_[key] = {std::move(theirs), ++changes_, 0, 0};
}

const Verified* Verification::own(const Uuid& volume) const {
  const auto found = all_.find({volume, node_});
  return found == all_.end() ? nullptr : &found->second.found;
}

}  // namespace cascade
