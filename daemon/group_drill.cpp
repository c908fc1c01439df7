// SPDX-License-Identifier: GPL-2.0-or-later
//
// A drill beside the group: whoever puts snapshots over the copies, or takes them away, has the
// copies held meanwhile. What lies over them is found again by the disks themselves.
#include "daemon/group.hpp"

#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {
namespace {

// For a few requests to device-mapper; nothing is applied meanwhile, the journal takes what comes.
constexpr std::chrono::seconds hold_time{30};

}  // namespace

Result<void> GroupNode::has_copies() const {
  if (storage_ == nullptr)
    return Error{Errc::refused, fmt::format("{} keeps no copies of group {}", node_, group_.name)};
  if (taken_over())
    return Error{Errc::refused, fmt::format("group {} was promoted on {}: its copies are devices "
                                            "of their own",
                                            group_.name, node_)};
  return {};
}

Result<void> GroupNode::no_drill() const {
  const auto drill = drill_status();
  if (!drill) return {};
  return Error{Errc::refused,
               drill->state == "running"
                   ? fmt::format("a drill runs here; 'dmcascade drill stop {}'", group_.name)
                   : "a drill is just beginning or ending here"};
}

/// Whether the copies will be an image of one moment without anybody's doing.
Result<void> GroupNode::fit_for_drill() const {
  const Applier& applier = *storage_->applier;
  if (applier.failure()) return *applier.failure();
  if (applier.past() != Applier::Past::no)
    return Error{
        Errc::refused,
        "the copies had to go past the open bracket: they are no image of one moment until "
        "it closes"};
  Doubts doubts;
  doubt_copies(doubts);
  if (doubts.empty()) return {};
  return Error{Errc::refused, fmt::format("{}: {}", doubts[0].subject, doubts[0].text)};
}

Result<void> GroupNode::begin_drill(std::uint64_t at_ns) {
  if (auto copies = has_copies(); !copies) return copies;
  if (auto free = no_drill(); !free) return free;
  if (auto fit = fit_for_drill(); !fit) return fit;
  if (auto reachable = is_reachable(at_ns); !reachable) return reachable;
  storage_->applier->hold(false, hold_time, at_ns);
  return {};
}

Result<void> GroupNode::end_drill() {
  if (auto copies = has_copies(); !copies) return copies;
  storage_->applier->hold(true, hold_time);
  return {};
}

Result<void> GroupNode::go_on_after_drill() {
  if (auto copies = has_copies(); !copies) return copies;
  const bool held = storage_->applier->held();
  storage_->applier->go_on();
  if (held) return {};
  return Error{Errc::refused, fmt::format("the copies of {} were not held, or not any more: they "
                                          "wait for no longer than {} s",
                                          group_.name, hold_time.count())};
}

std::optional<api::Drill> GroupNode::drill_status() const {
  if (!has_copies()) return std::nullopt;
  const Applier& applier = *storage_->applier;
  api::Drill out;
  for (const VolumeConfig& volume : group_.volumes) {
    const Disk* copy = applier.copy(volume.uuid);
    const auto drill = copy == nullptr ? std::nullopt : copy->drill();
    if (!drill) continue;
    out.images.push_back(
        {volume.name, drill->path, drill->used_bytes, drill->space_bytes, drill->broken});
    if (drill->time_ns != 0) out.since = report::rfc3339(drill->time_ns);
    out.as_of_seq = std::max(out.as_of_seq, drill->seq);
  }
  if (!applier.holding() && out.images.empty()) return std::nullopt;
  out.state = applier.held() ? "held" : applier.holding() ? "waiting" : "running";
  if (applier.held()) out.as_of_seq = applier.applied_seq();
  return out;
}

}  // namespace cascade
