// SPDX-License-Identifier: GPL-2.0-or-later
//
// The group is promoted on this node: what that means is said first; then nothing more is taken in,
// the copies go to the last whole point, and are handed over. The decision is one write of the
// journal's superblock, and so is its end; a crash in between goes on from the first.
#include "daemon/group.hpp"

#include "daemon/report/log.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace cascade {

using report::Level;

namespace {

// Volumes that a refusal names.
constexpr std::size_t named_max = 3;

constexpr const char* may_lack = "may-lack-writes";
constexpr const char* connected = "still-connected";
constexpr const char* not_consistent = "not-consistent";

}  // namespace

bool GroupNode::taken_over() const {
  return storage_ != nullptr && storage_->journal->takeover().decided();
}

// ---- what it means

/// Whether the copies can be brought to what this node had taken in by then; 0: by now.
Result<void> GroupNode::is_reachable(std::uint64_t at_ns) const {
  if (at_ns == 0) return {};
  const Applier& applier = *storage_->applier;
  const std::string at = report::rfc3339(at_ns);
  if (at_ns > seams_.clock.realtime_ns())
    return Error{Errc::refused, fmt::format("{} is still to come", at)};
  if (applier.applied_seq() == 0) return {};
  if (applier.applied_time_ns() == 0)
    return Error{Errc::refused, fmt::format("it is not known yet when {} took in what its copies "
                                            "hold, write {}",
                                            node_, applier.applied_seq())};
  if (applier.applied_time_ns() <= at_ns) return {};
  return Error{Errc::refused,
               fmt::format("the copies on {} hold what it took in until {} already, and can't go "
                           "back to {}: apply-delay in dmcascade.toml(5) says by how much they are "
                           "behind",
                           node_, report::rfc3339(applier.applied_time_ns()), at)};
}

Result<api::Takeover> GroupNode::takeover(bool newest, std::uint64_t at_ns) const {
  if (storage_ == nullptr)
    return Error{
        Errc::refused,
        fmt::format("{} keeps no copies of the group; promote it on its hub, {}{}", node_,
                    group_.hub, group_.remote.empty() ? "" : ", or its remote, " + group_.remote)};
  const Journal& journal = *storage_->journal;
  const Applier& applier = *storage_->applier;
  const Takeover& decided = journal.takeover();
  api::Takeover out;
  out.group = group_.name;
  out.node = node_;
  out.newest = decided.decided() ? decided.newest : newest;
  if (decided.decided()) at_ns = decided.at_ns;
  if (at_ns != 0) out.at = report::rfc3339(at_ns);
  out.state = decided.done() ? "promoted" : decided.decided() ? "promoting" : "follows";
  out.through_seq = decided.seq.value_or(applier.end_seq(out.newest));
  out.beyond_writes = journal.stored_seq() - std::min(out.through_seq, journal.stored_seq());
  for (const VolumeConfig& volume : group_.volumes)
    if (const auto path = volume.disk.find(node_); path != volume.disk.end())
      out.copies.push_back({volume.name, path->second});
  if (!decided.done())
    out.left_writes = out.through_seq - std::min(applier.applied_seq(), out.through_seq);
  if (decided.decided()) {
    out.generation = to_text(decided.generation);
    out.since = report::rfc3339(decided.time_ns);
    return out;
  }
  if (auto free = no_drill(); !free) return free.error();
  if (newest && at_ns != 0)
    return Error{Errc::refused, "either every volume's newest write, or all as of a moment"};
  if (auto reachable = is_reachable(at_ns); !reachable) return reachable.error();
  if (at_ns != 0)
    out.doubts.push_back(
        {may_lack, "", fmt::format("what came to {} after {} stays out, as told", node_, out.at)});
  if (mirror_) doubt_hub(out.doubts);
  if (ship_) doubt_remote(out.doubts);
  if (ship_ && has_witness()) doubt_grants(out.doubts);
  doubt_copies(out.doubts);
  doubt_bracket(newest, out.doubts);
  out.lossless = std::none_of(out.doubts.begin(), out.doubts.end(),
                              [](const auto& doubt) { return doubt.force != connected; });
  return out;
}

/// A hub has every write that was acknowledged to a volume's users, unless its primary may have
/// gone on alone, or was told of writes that only the hub's memory had.
void GroupNode::doubt_hub(Doubts& out) const {
  const auto& apart = mirror_->bracket().apart();
  for (const auto& [uuid, volume] : mirror_->all()) {
    const std::string& name = volume.config->name;
    const std::string& primary = volume.config->primary;
    if (volume.owner != nullptr)
      out.push_back(
          {connected, name,
           fmt::format("its primary {} is connected and may be writing; stop whoever uses "
                       "it there, and 'dmcascade remove {}'",
                       primary, name)});
    const auto found = apart.find(uuid);
    if (found == apart.end() || found->second.standing.mark == CASCADE_MARK_LEFT) continue;
    const Standing& standing = found->second.standing;
    const std::string since = report::rfc3339(standing.since_ns);
    if (standing.why == CASCADE_WHY_RESEND)
      out.push_back({may_lack, name,
                     fmt::format("this hub crashed before {} and may have lost writes that {} was "
                                 "told are received",
                                 since, primary)});
    else if (standing.why == CASCADE_WHY_ALONE)
      out.push_back({may_lack, name,
                     fmt::format("the lease of {} was over at {}: it may have written alone since",
                                 primary, since)});
    else
      out.push_back(
          {may_lack, name,
           fmt::format("what is out of sync was being copied from {} since {}", primary, since)});
  }
}

/// A remote is behind by what was on its way.
void GroupNode::doubt_remote(Doubts& out) const {
  const auto upstream = upstream_.find(group_.hub);
  if (upstream != upstream_.end() && upstream->second.connected)
    out.push_back({connected, group_.hub,
                   "the hub is connected: promote it there, or cut it off from its primaries"});
  const std::uint64_t here = storage_->journal->stored_seq();
  const std::uint64_t there = std::max(here, ship_->upstream_stored);
  if (ship_->heard_ns == 0)
    out.push_back({may_lack, "",
                   fmt::format("the hub, {}, has not been heard since this daemon began: what came "
                               "to it after write {} is missing here",
                               group_.hub, here)});
  else
    out.push_back({may_lack, "",
                   fmt::format("{} writes are missing here that the hub, {}, had when it was heard "
                               "last, at {}, and all that came to it after that",
                               there - here, group_.hub, report::rfc3339(ship_->heard_ns))});
}

/// Copies that are older than the others', for good or until their volume comes back.
void GroupNode::doubt_copies(Doubts& out) const {
  const Journal& journal = *storage_->journal;
  for (const VolumeConfig& volume : group_.volumes) {
    if (journal.dropped(volume.uuid))
      out.push_back({not_consistent, volume.name,
                     "its copy lacks writes that were dropped while the file did not have it"});
    const Standing& standing = journal.places().at(volume.uuid).standing;
    if (standing.mark == CASCADE_MARK_LEFT)
      out.push_back({not_consistent, volume.name,
                     fmt::format("it was left behind at {}: its copy is older than the others'",
                                 report::rfc3339(standing.since_ns))});
  }
}

void GroupNode::doubt_bracket(bool newest, Doubts& out) const {
  const Journal& journal = *storage_->journal;
  if (journal.limit_seq() == no_limit) return;
  const std::uint64_t behind = journal.stored_seq() - journal.limit_seq();
  std::vector<std::string> waits;
  std::uint64_t since_ns = 0;
  for (const auto& [uuid, place] : journal.places().volumes()) {
    if (place.standing.mark != CASCADE_MARK_DETACHED) continue;
    waits.push_back(group_.name_of(uuid));
    if (since_ns == 0 || place.standing.since_ns < since_ns) since_ns = place.standing.since_ns;
  }
  const std::string of =
      fmt::format("the bracket at write {}{}{}", journal.limit_seq(),
                  waits.empty() ? "" : ", open for " + fmt::format("{}", fmt::join(waits, ", ")),
                  since_ns == 0 ? "" : " since " + report::rfc3339(since_ns));
  if (newest)
    out.push_back({not_consistent, "",
                   fmt::format("{}: every volume's newest write is no image of one moment", of)});
  else if (storage_->applier->past() == Applier::Past::gone)
    out.push_back({not_consistent, "",
                   fmt::format("the copies went past {} for good: only --newest is left", of)});
  else if (behind > 0)
    out.push_back({may_lack, "",
                   fmt::format("{} writes that are here stay out, behind {}; --newest takes them, "
                               "though not consistent",
                               behind, of)});
}

// ---- doing it

Result<api::Takeover> GroupNode::promote(bool newest, const std::vector<std::string>& force,
                                         std::uint64_t at_ns) {
  auto plan = takeover(newest, at_ns);
  if (!plan || plan->state == "promoted") return plan;
  if (plan->state == "promoting" && (plan->newest || !newest)) return plan;
  std::set<std::string> needed;
  std::string doubts;
  for (const auto& doubt : plan->doubts) {
    if (api::accepts(force, doubt.force)) continue;
    needed.insert(doubt.force);
    doubts += fmt::format("{}{}{}{}", doubts.empty() ? "" : "; ", doubt.subject,
                          doubt.subject.empty() ? "" : ": ", doubt.text);
  }
  if (!needed.empty())
    return Error{Errc::refused,
                 fmt::format("{}. To accept it: --force={}", doubts, fmt::join(needed, ","))};
  if (!newest && storage_->applier->past() == Applier::Past::gone)
    return Error{Errc::refused,
                 "the copies went past the open bracket for good: say --newest as well"};
  Takeover wanted = storage_->journal->takeover();
  if (!wanted.decided()) wanted = {make_uuid(), seams_.clock.realtime_ns(), false, {}, at_ns};
  wanted.newest = newest;
  if (petitioner_ && !taken_over()) {
    const auto asks = may_ask_witness(wanted, force);
    if (!asks) return asks.error();
    plan->state = "asking";
    return plan;
  }
  decide_takeover(wanted, force);
  return takeover(newest);
}

void GroupNode::decide_takeover(const Takeover& wanted, const std::vector<std::string>& force) {
  storage_->journal->set_takeover(wanted);
  storage_->journal->set_petition({});
  crew_.add(persist_takeover());
  report::log(Level::warning, group_.name,
              fmt::format("is promoted on {}, as told{}{}: generation {}", node_,
                          force.empty() ? "" : ", accepting ", fmt::join(force, ", "),
                          to_text(wanted.generation)));
}

/// What runs is for a node that follows: the group begins anew as one that was promoted.
Task<> GroupNode::persist_takeover() {
  const auto kept = co_await storage_->journal->persist();
  if (kept) begin_anew();  // else watch_storage() says why
}

/// Until stop().
Task<> GroupNode::finish_takeover() {
  Journal& journal = *storage_->journal;
  if (!journal.takeover().done()) co_await bring_to_end();
  while (!stopping_) co_await stop_.wait();
  co_await sessions_.join();
  if (!journal.takeover().done()) (void)co_await storage_->applier->settle();
  (void)co_await journal.close();
}

/// Then the group begins anew, to let go of the devices. Less far if it is stopped, or fails.
Task<> GroupNode::bring_to_end() {
  Journal& journal = *storage_->journal;
  Applier& applier = *storage_->applier;
  Crew work(seams_.executor);
  work.add(applier.run());
  while (!stopping_ && !applier.at_end()) co_await journal.progress().wait();
  applier.stop();
  co_await work.join();
  if (stopping_) co_return;
  const auto handed_over = co_await applier.hand_over();
  if (!handed_over) {
    fail(handed_over.error());
    co_return;
  }
  report::log(Level::notice, group_.name,
              fmt::format("the copies on {} are handed over as of write {}", node_,
                          *journal.takeover().seq));
  begin_anew();
}

/// Who comes with another history, by both names.
Error GroupNode::parted(const Hello& hello) const {
  const Takeover& takeover = storage_->journal->takeover();
  std::vector<std::string> theirs;
  for (const VolumeConfig& volume : group_.volumes)
    for (const auto& stream : hello.streams)
      if (stream.uuid == volume.uuid && stream.generation != Uuid{})
        theirs.push_back(
            fmt::format("{} of generation {}", volume.name, to_text(stream.generation)));
  if (theirs.size() > named_max) {
    const std::size_t more = theirs.size() - named_max;
    theirs.resize(named_max);
    theirs.push_back(fmt::format("{} more", more));
  }
  return Error{Errc::refused,
               fmt::format("group {} was promoted on {} at {} as generation {}; {} comes with {}, "
                           "which has parted from it: see TAKEOVER in dmcascade(8)",
                           group_.name, node_, report::rfc3339(takeover.time_ns),
                           to_text(takeover.generation), hello.node,
                           theirs.empty() ? "the history before that"
                                          : fmt::format("{}", fmt::join(theirs, ", ")))};
}

}  // namespace cascade
