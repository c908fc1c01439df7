// SPDX-License-Identifier: GPL-2.0-or-later
//
// Comparing volumes with their copies: asked for on the primary, found on every node that has a
// copy, and told upstream.
#include "daemon/group.hpp"

#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

namespace cascade {
namespace {

const char* word(Verifier::Status::State state) {
  using State = Verifier::Status::State;
  switch (state) {
    case State::running:
      return "running";
    case State::repairing:
      return "repairing";
    case State::waiting:
      return "waiting";
    case State::stopped:
      return "stopped";
    default:
      return "done";
  }
}

api::Verify::Copy copy_of(const Verified& found) {
  api::Verify::Copy out;
  out.node = found.node;
  out.since = report::rfc3339(found.run);
  out.compared_bytes = found.compared;
  out.skipped_bytes = found.skipped;
  out.differing_bytes = found.differing;
  for (const auto& range : found.ranges) out.ranges.push_back({range.begin, range.bytes});
  return out;
}

}  // namespace

Result<const VolumeConfig*> GroupNode::own_volume(const std::string& name) const {
  const VolumeConfig* volume = group_.volume(name);
  if (volume == nullptr)
    return Error{Errc::not_found, fmt::format("group {} has no volume {}", group_.name, name)};
  if (volume->primary != node_ || !ring_feed_)
    return Error{Errc::refused,
                 fmt::format("{} is not the primary of {}; ask {}", node_, name, volume->primary)};
  return volume;
}

Result<void> GroupNode::begin_verify(const std::string& name, Verifier::Order order) {
  const auto volume = own_volume(name);
  if (!volume) return volume.error();
  order.nodes = {group_.hub};
  if (!group_.remote.empty()) order.nodes.push_back(group_.remote);
  return ring_feed_->begin_verify((*volume)->uuid, order);
}

Result<void> GroupNode::end_verify(const std::string& name) {
  const auto volume = own_volume(name);
  if (!volume) return volume.error();
  return ring_feed_->end_verify((*volume)->uuid);
}

std::optional<api::Verify> GroupNode::verify_status(const Verifier::Status& status) {
  if (status.state == Verifier::Status::State::none) return std::nullopt;
  api::Verify out;
  out.state = word(status.state);
  out.since = report::rfc3339(status.since_ns);
  out.from_bytes = status.from;
  out.next_bytes = status.next;
  out.out_of_sync_bytes = status.out_of_sync;
  out.unreadable_bytes = status.unreadable;
  out.doubtful_bytes = status.doubtful;
  for (const auto& copy : status.copies) {
    out.copies.push_back(copy_of(copy.found));
    out.copies.back().repaired_bytes = copy.repaired;
  }
  return out;
}

std::optional<api::Verify> GroupNode::verify_status(const Uuid& volume) const {
  const Verified* found = verification_.own(volume);
  if (found == nullptr) return std::nullopt;
  api::Verify out;
  out.state = "copy";
  out.copies.push_back(copy_of(*found));
  return out;
}

}  // namespace cascade
