// SPDX-License-Identifier: GPL-2.0-or-later
//
// What status says of a group: numbers gathered from its parts, words for people.
#include "daemon/group.hpp"

#include "daemon/report/rfc3339.hpp"
#include "lib/meta/area.hpp"

#include <fmt/format.h>

namespace cascade {
namespace {

const char* word(SendOrder v) { return v == SendOrder::parallel ? "parallel" : "local-first"; }
const char* word(AckWhen v) { return v == AckWhen::sync ? "sync" : "memory-sync"; }
const char* word(OnJournalFull v) {
  return v == OnJournalFull::suspend ? "suspend" : v == OnJournalFull::block ? "block" : "throttle";
}
const char* word(Codec v) { return v == Codec::zstd ? "zstd" : v == Codec::lz4 ? "lz4" : "none"; }
const char* word(ShipWhen v) { return v == ShipWhen::stored ? "stored" : "received"; }

const char* word(Applier::Past past) {
  return past == Applier::Past::no ? "no" : past == Applier::Past::undo ? "undo" : "gone";
}

const char* fence_word(std::uint8_t fence) {
  switch (fence) {
    case CASCADE_FENCE_NEVER:
      return "never";
    case CASCADE_FENCE_WITNESS:
      return "witness";
    case CASCADE_FENCE_STATUS:
      return "status";
    case CASCADE_FENCE_DATA:
      return "data";
    default:
      return "";
  }
}

std::optional<double> seconds(const std::optional<Duration>& time) {
  if (!time) return std::nullopt;
  return std::chrono::duration<double>(*time).count();
}

const char* why_word(std::uint8_t why) {
  switch (why) {
    case CASCADE_WHY_RESEND:
      return "resend";
    case CASCADE_WHY_ALONE:
      return "alone";
    default:
      return "resync";
  }
}

api::Link link_status(const LinkStatus& link) {
  api::Link out;
  out.peer = link.peer;
  out.direction = link.downstream ? "downstream" : "upstream";
  const bool there = link.connected || link.renewing;
  out.state = there ? "connected" : link.downstream ? "connecting" : "down";
  out.reason = there ? "" : link.reason;
  out.sent_bytes = link.sent_bytes;
  out.received_bytes = link.received_bytes;
  out.sessions = link.sessions;
  out.loss = link.loss;
  out.congestion = link.congestion;
  out.unpacked_bytes = link.unpacked_bytes;
  if (link.downstream) out.compress = word(link.codec);
  return out;
}

}  // namespace

api::Group GroupNode::status() {
  api::Group out;
  out.name = group_.name;
  out.uuid = to_text(group_.uuid);
  if (!primary_volumes().empty()) out.roles.push_back("primary");
  if (is_hub()) out.roles.push_back("hub");
  if (is_remote()) out.roles.push_back("remote");
  out.send_order = word(group_.send_order);
  out.hub_ack = word(group_.hub_ack);
  out.ship = word(group_.ship);
  out.remote_ack = word(group_.remote_ack);
  out.on_journal_full = word(group_.on_journal_full);
  if (is_hub() && !taken_over())
    for (const VolumeConfig& volume : group_.volumes) (void)upstream_status(volume.primary);
  if (is_remote() && !taken_over()) (void)upstream_status(group_.hub);
  for (const auto& [peer, link] : upstream_) out.links.push_back(link_status(link));
  if (link_) out.links.push_back(link_status(link_->status()));
  if (ship_link_) out.links.push_back(link_status(ship_link_->status()));
  out.volumes = volume_statuses();
  out.journal = journal_status();
  out.remote = remote_status();
  out.bracket = bracket_status();
  if (taken_over())
    if (auto how = takeover(false)) out.takeover = std::move(*how);
  out.drill = drill_status();
  out.latency = latency_status();
  return out;
}

std::optional<Error> GroupNode::storage_failure() const {
  if (failure_) return failure_;
  if (storage_ == nullptr) return std::nullopt;
  return storage_->journal->failure();
}

std::vector<api::Volume> GroupNode::volume_statuses() {
  std::vector<api::Volume> out;
  if (ring_feed_)
    for (const auto& volume : ring_feed_->status()) out.push_back(primary_status(volume));
  if (is_hub() || is_remote())
    for (const VolumeConfig& volume : group_.volumes) out.push_back(copy_status(volume));
  return out;
}

api::Volume GroupNode::primary_status(const RingFeed::VolumeStatus& volume) {
  api::Volume out;
  out.name = volume.config->name;
  out.uuid = to_text(volume.config->uuid);
  out.primary = volume.config->primary;
  out.role = "primary";
  out.size_bytes = volume.shape.sectors * CASCADE_SECTOR_BYTES;
  if (volume.shape.generation != Uuid{}) out.generation = to_text(volume.shape.generation);
  out.differs = meta::differs_text(volume.differs);
  out.local_errors = volume.local_errors;
  out.local_write_failed = (volume.differs & CASCADE_DIFFERS_LOCAL) != 0;
  if (volume.attached) {
    out.out_of_sync_bytes = volume.out_of_sync * CASCADE_SECTOR_BYTES;
    out.resynced_bytes = volume.resynced;
    out.same_bytes = volume.same;
    out.verify = verify_status(volume.verify);
    out.resync_seconds_left = volume.resync_seconds;
    out.ring =
        api::Ring{"attached", volume.published, volume.received, volume.stored, volume.released};
    const bool connected = link_->status().connected || link_->status().renewing;
    out.fence_level = fence_word(volume.fence);
    out.lease_seconds = seconds(volume.lease_left);
    if (volume.alone_ns != 0) out.alone_since = report::rfc3339(volume.alone_ns);
    // Whoever asks for another size waits for the hub's word on it.
    if (connected && volume.heard_sectors != 0)
      out.size_bytes = volume.heard_sectors * CASCADE_SECTOR_BYTES;
    out.state = volume.alone_ns != 0 ? "alone"
                : !connected         ? "waiting"
                : volume.refused     ? "refused"
                                     : "replicating";
    out.reason = connected ? volume.reason : link_->status().reason;
    if (!connected && !volume.witness.empty()) out.reason += "; " + volume.witness;
  } else {
    out.state = volume.leaving ? "leaving" : "not-created";
    out.reason =
        volume.leaving ? "removed in order, and the hub has not been told yet" : volume.reason;
  }
  return out;
}

api::Volume GroupNode::copy_status(const VolumeConfig& volume) {
  api::Volume out;
  out.name = volume.name;
  out.uuid = to_text(volume.uuid);
  out.primary = volume.primary;
  out.role = is_hub() ? "hub" : "remote";
  if (storage_ != nullptr) out.size_bytes = storage_->applier->copy_shape(volume.uuid).bytes;
  out.verify = verify_status(volume.uuid);
  const LinkStatus& upstream = upstream_status(is_hub() ? volume.primary : group_.hub);
  const auto failed = storage_failure();
  const auto stands = storage_ != nullptr ? storage_->applier->failure() : std::nullopt;
  if (failed || stands) {
    out.state = "failed";
    out.reason = failed ? failed->text : stands->text;
  } else if (!upstream.connected) {
    out.state = "waiting";
    out.reason = fmt::format("no session of {}: {}", upstream.peer, upstream.reason);
  } else {
    out.state = "replicating";
  }
  if (taken_over()) {
    out.state = storage_->journal->takeover().done() ? "promoted" : "promoting";
    out.reason = failed || stands ? out.reason : "";
    return out;
  }
  if (storage_ != nullptr && out.state == "replicating" &&
      storage_->journal->places().at(volume.uuid).standing.mark == CASCADE_MARK_LEFT) {
    out.state = "behind";
    out.reason = "the group went on without it, as told; it is whole again when it has caught up";
  }
  if (mirror_) {
    const auto* state = mirror_->find(volume.uuid);
    if (!state->refusal.empty() && state->owner == nullptr && out.state != "failed") {
      out.state = "refused";
      out.reason = state->refusal;
    }
    const Uuid generation = storage_->journal->source(volume.uuid).generation;
    if (generation != Uuid{}) out.generation = to_text(generation);
    out.differs = meta::differs_text(state->differs);
    out.received_seq = state->received;
    out.stored_seq = storage_->journal->stored_volume_seq(volume.uuid);
    out.lease_seconds = seconds(mirror_->lease_left(volume.uuid));
  }
  return out;
}

std::optional<api::Journal> GroupNode::journal_status() const {
  if (!is_hub() && !is_remote()) return std::nullopt;
  api::Journal out;
  const auto path = group_.journal.find(node_);
  if (path != group_.journal.end()) out.path = path->second;
  const auto failed = storage_failure();
  out.state = failed ? "failed" : storage_ == nullptr ? "opening" : "ok";
  if (failed) {
    out.reason = failed->text;
    out.failure = api::word(failed->code);
  }
  if (storage_ == nullptr) return out;
  const Journal& journal = *storage_->journal;
  out.size_bytes = journal.size_bytes();
  out.used_bytes = journal.used_bytes();
  out.received_seq = journal.received_seq();
  out.stored_seq = journal.stored_seq();
  const auto& handed_over = journal.takeover().seq;
  out.applied_seq = handed_over ? *handed_over : storage_->applier->applied_seq();
  out.checkpoint_seq = journal.checkpoint_seq();
  if (const auto taken_in = storage_->applier->applied_time_ns(); taken_in != 0)
    out.applied_time = report::rfc3339(taken_in);
  if (is_remote() && group_.apply_delay != group_.apply_delay.zero()) {
    out.apply_delay_seconds = std::chrono::duration<double>(group_.apply_delay).count();
    out.apply_delay_short = !taken_over() && storage_->applier->delay_is_short();
  }
  out.consistent = handed_over ? !journal.takeover().newest : storage_->applier->whole();
  if (const auto& stands = storage_->applier->failure()) {
    out.copies_reason = stands->text;
    out.copies_failure = api::word(stands->code);
  }
  if (const auto unfit = journal_feed_ ? journal_feed_->failure() : std::nullopt) {
    out.ship_reason = unfit->text;
    out.ship_failure = api::word(unfit->code);
  }
  if (!failed && journal.starved())
    out.reason =
        fmt::format("full: {} until {}", is_hub() ? "writes wait" : "nothing more is taken",
                    journal.limit_seq() != no_limit ? "the bracket closes"
                    : is_hub()                      ? "the remote or the copies catch up"
                                                    : "the copies catch up");
  return out;
}

/// A write's way through this node, in its order.
std::vector<api::Latency> GroupNode::latency_status() const {
  std::vector<api::Latency> out;
  const auto add = [&](const char* stage, const LatencyHistogram& histogram) {
    api::Latency& to = out.emplace_back();
    to.stage = stage;
    to.sum_seconds = std::chrono::duration<double>(histogram.sum()).count();
    for (std::size_t i = 0; i < LatencyHistogram::buckets; ++i) {
      const std::uint64_t count = histogram.counts()[i];
      if (count > 0) to.buckets.push_back({LatencyHistogram::end_us(i), count});
      to.count += count;
    }
  };
  if (ring_feed_) {
    add("ring", ring_feed_->latencies().ring);
    if (link_) add("send", link_->status().send_latency);
    add("hub", ring_feed_->latencies().hub);
    add("write", ring_feed_->latencies().write);
  }
  if (storage_ != nullptr) add("journal", storage_->journal->latency());
  if (journal_feed_ && ship_link_) {
    add("ship", ship_link_->status().send_latency);
    add("remote", journal_feed_->latency());
  }
  return out;
}

std::optional<api::RemoteLag> GroupNode::remote_status() {
  if (!journal_feed_ || storage_ == nullptr) return std::nullopt;
  const auto behind = journal_feed_->behind();
  api::RemoteLag out{journal_feed_->remote_received(), journal_feed_->remote_stored(),
                     behind.writes, behind.bytes, behind.age_seconds};
  out.ship_rate_bytes = journal_feed_->rate();
  if (const auto& report = journal_feed_->report()) {
    out.applied_seq = report->applied;
    out.journal_used_bytes = report->journal_used;
    out.journal_size_bytes = report->journal_bytes;
    out.bracket = report->bracket;
    out.journal_full = report->full;
    if (report->failure) out.copies_reason = report->failure->text;
  }
  if (catch_up_ && catch_up_->failure()) out.reason = catch_up_->failure()->text;
  out.replacing = catch_up_ && catch_up_->replacing();
  if (!catch_up_ || !catch_up_->behind()) return out;
  out.behind_since = report::rfc3339(storage_->journal->behind().since_ns);
  out.out_of_sync_bytes = catch_up_->out_of_sync_bytes();
  out.same_bytes = catch_up_->same_bytes();
  out.seconds_left = catch_up_->seconds_left();
  return out;
}

/// What the hub waits for until the volume is attached.
std::string GroupNode::awaited_of(const Uuid& volume) const {
  if (!mirror_) return fmt::format("the hub, {}, says what for", group_.hub);
  const auto& apart = mirror_->bracket().apart();
  const auto found = apart.find(volume);
  if (found == apart.end()) return "its last writes are being stored";
  const auto* state = mirror_->find(volume);
  if (!state->refusal.empty()) return fmt::format("it was refused: {}", state->refusal);
  if (!found->second.awaited)
    return fmt::format("its primary {} has not come back yet", state->config->primary);
  if (found->second.resync && !state->superseded)
    return fmt::format("its primary {} has to go on copying what is out of sync",
                       state->config->primary);
  if (!found->second.confirmed)
    return fmt::format("its primary {} has not taken a lease yet", state->config->primary);
  if (found->second.resync) return "what is out of sync is being copied";
  return fmt::format("write {}, now at {}", found->second.awaited->last, state->received);
}

std::optional<api::Bracket> GroupNode::bracket_status() const {
  if (storage_ == nullptr || storage_->journal->limit_seq() == no_limit || taken_over())
    return std::nullopt;
  const Journal& journal = *storage_->journal;
  api::Bracket out;
  out.applied_through = journal.limit_seq();
  out.held_writes = journal.stored_seq() - journal.limit_seq();
  for (const auto& [uuid, place] : journal.places().volumes()) {
    if (place.standing.mark != CASCADE_MARK_DETACHED) continue;
    out.volumes.push_back({group_.name_of(uuid), why_word(place.standing.why),
                           report::rfc3339(place.standing.since_ns), awaited_of(uuid)});
  }
  out.catching_up = journal.places().gap().last != 0;
  const Applier& applier = *storage_->applier;
  out.past = word(applier.past());
  out.undo_full = applier.undo_full();
  if (const Undo* undo = applier.undo()) {
    out.undo_path = undo->path();
    out.undo_used_bytes = undo->used_bytes();
    out.undo_size_bytes = undo->size_bytes();
  }
  return out;
}

}  // namespace cascade
