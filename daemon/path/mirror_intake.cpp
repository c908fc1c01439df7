// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/mirror_intake.hpp"

#include "daemon/report/log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace cascade {
namespace {

constexpr const char* newer_session = "a newer session has taken over";

// `on-journal-full throttle`: from three quarters on, up to so much for each frame.
constexpr std::chrono::milliseconds pause_max{200};

}  // namespace

// ---- the volumes

MirrorVolumes::MirrorVolumes(const GroupConfig& group, Journal& journal, Clock& clock)
    : group_(group),
      journal_(journal),
      clock_(clock),
      bracket_(journal, clock),
      lease_timer_(clock.timer()) {
  for (const VolumeConfig& volume : group.volumes) volumes_[volume.uuid].config = &volume;
}

void MirrorVolumes::load(const std::function<CopyShape(const Uuid&)>& copy_of) {
  for (auto& [uuid, volume] : volumes_) {
    const CopyShape copy = copy_of(uuid);
    volume.bytes = copy.bytes;
    volume.block = copy.block;
    volume.received = journal_.stored_volume_seq(uuid);
    volume.last = volume.unsure = journal_.places().at(uuid).group_seq;
  }
}

void MirrorVolumes::Volume::end_session(const std::string& why) {
  owner = nullptr;
  if (const EndSession end = std::exchange(superseded, nullptr)) end(why);
}

MirrorVolumes::Volume* MirrorVolumes::find(const Uuid& uuid) {
  const auto found = volumes_.find(uuid);
  return found == volumes_.end() ? nullptr : &found->second;
}

void MirrorVolumes::learn_size(const Uuid& volume, std::uint64_t bytes) {
  if (journal_.volume_bytes(volume) == bytes) return;
  journal_.set_volume_bytes(volume, bytes);
  if (changed_) changed_();
}

void MirrorVolumes::learn_source(const Uuid& volume, const VolumeSource& source) {
  const bool parted = journal_.source(volume).generation != source.generation;
  journal_.set_source(volume, source);
  if (parted && changed_) changed_();
}

std::vector<Hello::Stream> MirrorVolumes::describe() const {
  std::vector<Hello::Stream> out;
  for (const auto& [uuid, volume] : volumes_) {
    Hello::Stream stream{uuid};
    stream.bytes = journal_.volume_bytes(uuid);
    stream.generation = journal_.source(uuid).generation;
    out.push_back(stream);
  }
  for (const Uuid& uuid : journal_.leaving_volumes()) {
    Hello::Stream stream{uuid};
    stream.leaving = true;
    out.push_back(stream);
  }
  return out;
}

void MirrorVolumes::resume() {
  bracket_.load();
  const bool lost = journal_.was_crashed() && group_.hub_ack == AckWhen::memory_sync;
  for (const auto& [uuid, volume] : volumes_) {
    // One that never had a session has sent nothing.
    if (lost && journal_.source(uuid) != VolumeSource{}) bracket_.detach(uuid, CASCADE_WHY_RESEND);
    // Who knows how long this hub was away.
    if (journal_.leased(uuid)) bracket_.lease_over(uuid);
  }
  std::vector<Uuid> gone;
  for (const auto& [uuid, apart] : bracket_.apart())
    if (!volumes_.contains(uuid) && apart.standing.mark == CASCADE_MARK_DETACHED)
      gone.push_back(uuid);
  // Whoever took a volume out of the file has said that the group goes on without it.
  for (const Uuid& uuid : gone) (void)bracket_.leave(uuid);
}

// ---- leases

void MirrorVolumes::set_fence(Volume& volume, std::uint8_t fence) {
  const Uuid& uuid = volume.config->uuid;
  volume.leased = fence == CASCADE_FENCE_NEVER || fence == CASCADE_FENCE_WITNESS;
  journal_.set_leased(uuid, volume.leased);
  if (!volume.leased)
    leases_.drop(uuid);
  else if (!leases_.until(uuid) && !bracket_.apart().contains(uuid))
    leases_.extend(uuid, now() + group_.lease);
}

void MirrorVolumes::detach(const Uuid& volume) {
  journal_.set_leased(volume, true);
  leases_.drop(volume);
  bracket_.lease_over(volume);
}

void MirrorVolumes::renewed(Volume& volume, Duration then) {
  const Uuid& uuid = volume.config->uuid;
  if (!volume.leased || then + group_.lease <= now()) return;
  leases_.extend(uuid, then + group_.lease);
  bracket_.confirm(uuid, volume.received);
}

void MirrorVolumes::close_leases() {
  for (const Uuid& uuid : leases_.take_expired(now())) {
    bracket_.lease_over(uuid);
    Volume* volume = find(uuid);
    if (volume == nullptr) continue;
    report::log(report::Level::warning, group_.name,
                fmt::format("the lease of {} has run out: {} may go on alone, and the group's "
                            "copies stand still until it is back",
                            volume->config->name, volume->config->primary));
    volume->end_session(fmt::format("the lease of {} has run out", volume->config->name));
  }
}

Task<> MirrorVolumes::watch_leases() {
  while (!stopping_) {
    close_leases();
    co_await lease_timer_->sleep(lease_margin(group_.lease) / 4);
  }
}

void MirrorVolumes::stop() {
  stopping_ = true;
  lease_timer_->cancel();
}

std::optional<Duration> MirrorVolumes::lease_left(const Uuid& volume) const {
  const auto until = leases_.until(volume);
  if (!until || *until <= now()) return std::nullopt;
  return *until - now();
}

// ---- one session

Result<MirrorVolumes::Volume*> MirrorIntake::entitled(const Hello& hello,
                                                      const Hello::Stream& stream) {
  auto* volume = volumes_.find(stream.uuid);
  if (volume == nullptr)
    return Error{Errc::refused, fmt::format("the hub's file has no volume {} in group {}; give "
                                            "both nodes the same file",
                                            to_text(stream.uuid), volumes_.group().name)};
  if (volume->config->primary != hello.node)
    return Error{Errc::refused,
                 fmt::format("it belongs to primary {} by the hub's file, not to {}; "
                             "give both nodes the same file",
                             volume->config->primary, hello.node)};
  if (volumes_.journal().dropped(stream.uuid))
    return Error{Errc::refused,
                 "the hub's copy lacks writes of it, which came to their turn while the hub's file "
                 "did not have it; begin anew (dmcascade(8))"};
  if (auto ok = volumes_.fits(*volume, stream); !ok) return ok.error();
  if (auto ok = continues(*volume, stream); !ok) return ok.error();
  return volume;
}

/// Sizes, blocks and settings of both sides, before a write finds out.
Result<void> MirrorVolumes::fits(const Volume& volume, const Hello::Stream& stream) const {
  if (stream.bytes > volume.bytes) {
    if (too_small_ && too_small_(stream.uuid, stream.bytes)) return copy_has_grown();
    return Error{Errc::refused,
                 fmt::format("it has {} bytes, the hub's copy only {}; make the copy at least as "
                             "large, and it is taken by itself",
                             stream.bytes, volume.bytes)};
  }
  if (stream.block != 0 && stream.block < volume.block)
    return Error{Errc::refused,
                 fmt::format("its blocks are of {} bytes, those of the hub's copy of "
                             "{}; use a device with blocks as small",
                             stream.block, volume.block)};
  const std::uint8_t ours =
      group_.hub_ack == AckWhen::sync ? CASCADE_ACK_SYNC : CASCADE_ACK_MEMORY_SYNC;
  if (stream.hub_ack != 0 && stream.hub_ack != ours)
    return Error{Errc::refused,
                 fmt::format("its primary has hub-ack {}, the hub {}; give both nodes the same "
                             "file, and create the volume anew",
                             stream.hub_ack == CASCADE_ACK_SYNC ? "sync" : "memory-sync",
                             group_.hub_ack == AckWhen::sync ? "sync" : "memory-sync")};
  return {};
}

/// Whether the stream goes on from what the hub holds, and comes from where its session does.
Result<void> MirrorIntake::continues(const MirrorVolumes::Volume& volume,
                                     const Hello::Stream& stream) const {
  if (volume.owner != nullptr && volume.owner != this && volume.owner_host != host_)
    return Error{Errc::refused,
                 fmt::format("it is in a session from {}; if {} is not a second machine that takes "
                             "itself for {}, it is taken when that one has ended",
                             volume.owner_host, host_, volume.config->primary)};
  if (auto ok = same_history(volume, stream); !ok) return ok;
  if (stream.fresh) return follows_last_ring(volume, stream);
  const Uuid nobody{}, ring = volumes_.journal().source(stream.uuid).incarnation;
  if (ring != nobody && stream.incarnation != nobody && ring != stream.incarnation)
    return Error{
        Errc::refused,
        fmt::format("the hub has gone on with ring {}, this is ring {}: another machine "
                    "writes as {}, or the hub's journal was restored",
                    short_text(ring), short_text(stream.incarnation), volume.config->primary)};
  if (volume.received > stream.last)
    return Error{Errc::refused,
                 fmt::format("the hub holds its writes through {}, but the ring ends at {}; one of "
                             "them is of another history",
                             volume.received, stream.last)};
  if (volume.received + 1 < stream.first)
    return Error{Errc::refused,
                 fmt::format("the hub holds its writes through {}, but the ring begins at {}; the "
                             "hub has lost writes: its journal was restored or made anew",
                             volume.received, stream.first)};
  return {};
}

/// Whether disk and hub are of one history of the volume, whatever their numbers say.
Result<void> MirrorIntake::same_history(const MirrorVolumes::Volume& volume,
                                        const Hello::Stream& stream) const {
  const Uuid nobody{}, here = volumes_.journal().source(stream.uuid).generation;
  // One that went on alone has parted from what is here; what differs since is out of sync.
  if (here != nobody && stream.generation != nobody && here != stream.generation &&
      here != stream.parent)
    return Error{
        Errc::refused,
        fmt::format("its disk is of generation {}, the hub's copy of {}: its metadata area "
                    "was made anew, or it is another disk; bring the right one, or begin "
                    "anew (dmcascade(8))",
                    short_text(stream.generation), short_text(here))};
  if (stream.journal != nobody && stream.journal != volumes_.journal().id())
    return Error{Errc::refused,
                 fmt::format("it was last with the hub's journal {}, this is {}: the hub's journal "
                             "was made anew or exchanged; bring the old one, or begin anew "
                             "(dmcascade(8))",
                             short_text(stream.journal), short_text(volumes_.journal().id()))};
  if (here == nobody && volume.received > 0 && stream.generation != nobody && !stream.numbered)
    return Error{Errc::refused,
                 fmt::format("its metadata area is new, but the hub holds its writes through {}; "
                             "begin anew (dmcascade(8))",
                             volume.received)};
  return {};
}

/// A fresh ring goes on where the one before it ended, as the metadata area tells.
Result<void> MirrorIntake::follows_last_ring(const MirrorVolumes::Volume& volume,
                                             const Hello::Stream& stream) const {
  if (!stream.numbered) return {};
  if (volume.received < stream.end_seq)
    return Error{
        Errc::refused,
        fmt::format("its disk has writes through {}, the hub only through {}: the hub has "
                    "lost writes, its journal was restored, or its file did not have the volume "
                    "for a while; begin anew (dmcascade(8))",
                    stream.end_seq, volume.received)};
  if (stream.clean && volume.received > stream.end_seq)
    return Error{Errc::refused,
                 fmt::format("its disk ended in order with write {}, but the hub holds writes "
                             "through {}: the disk was restored or is a copy, and {} has written "
                             "elsewhere since; bring the right disk, or begin anew (dmcascade(8))",
                             stream.end_seq, volume.received, volume.config->primary)};
  return {};
}

/// A fresh ring goes on behind what is stored: what is only received would be lost with this
/// daemon, and its numbers with it. So nothing of the ring before may be on its way when one
/// begins.
Result<void> MirrorIntake::settled(const MirrorVolumes::Volume& volume) const {
  const std::uint64_t stored = volumes_.journal().stored_volume_seq(volume.config->uuid);
  if (stored == volume.received) return {};
  return Error{Errc::refused, fmt::format("the hub is still storing writes {} to {} of its earlier "
                                          "ring, and takes the new one after that",
                                          stored + 1, volume.received)};
}

/// Takes the stream over from an older session, or says why not.
Result<MirrorVolumes::Volume*> MirrorIntake::take_over(const Hello& hello,
                                                       const Hello::Stream& stream,
                                                       const EndSession& superseded) {
  auto found = entitled(hello, stream);
  if (!found) return found;
  auto* volume = *found;
  // What an older session still holds on its way in is dropped: the ring sends it again.
  if (volume->owner == this) volume->superseded = nullptr;
  volume->end_session(newer_session);
  if (stream.fresh)
    if (auto ok = settled(*volume); !ok) return ok.error();
  volume->owner = this;
  volume->owner_host = host_;
  volume->superseded = superseded;
  volumes_.learn_source(stream.uuid, {stream.incarnation, stream.generation});
  volume->differs = stream.differs;
  volume->unsure = unsure_of(*volume, stream);
  volumes_.learn_size(stream.uuid, stream.bytes);
  volumes_.set_fence(*volume, stream.fence);
  volumes_.bracket().came_back(
      stream.uuid, {stream.incarnation, stream.fresh ? 0 : stream.last, volume->received,
                    stream.out_of_sync > 0, !volume->leased});
  return volume;
}

/// A primary that crashed, whose disk failed or was exchanged, may have less than it once sent.
std::uint64_t MirrorIntake::unsure_of(const MirrorVolumes::Volume& volume,
                                      const Hello::Stream& stream) {
  return stream.fresh || stream.differs != 0 ? volume.last : volume.unsure;
}

/// Whether the hub takes itself for behind with a stream that it refuses, because its primary asks
/// for that.
bool MirrorIntake::detach(const Hello& hello, const Hello::Stream& stream) {
  auto* volume = volumes_.find(stream.uuid);
  if (stream.fence != CASCADE_FENCE_STATUS || volume == nullptr ||
      volume->config->primary != hello.node || volume->owner != nullptr)
    return false;
  volumes_.detach(stream.uuid);
  return true;
}

/// The volume's ring has ended in order, with everything stored here: nobody waits for it.
Answer MirrorIntake::let_leave(const Hello& hello, const Hello::Stream& stream) {
  Answer answer{{stream.uuid, 0, 0}, 0, {}};
  auto* volume = volumes_.find(stream.uuid);
  const bool ours = volume != nullptr && volume->config->primary == hello.node &&
                    volumes_.journal().source(stream.uuid).incarnation == stream.incarnation;
  if (!ours || volume->received != stream.last) {
    answer.refusal = Error{Errc::refused, "the hub knows another end of it"};
    return answer;
  }
  volume->end_session(newer_session);
  volumes_.set_fence(*volume, CASCADE_FENCE_DATA);
  volumes_.bracket().came_back(stream.uuid, {stream.incarnation, stream.last, volume->received});
  return answer;
}

Result<Welcome> MirrorIntake::open(const Hello& hello, EndSession superseded) {
  Welcome welcome;
  volumes_.close_leases();
  renewal_ = renewals_.make(volumes_.now());
  welcome.lease = volumes_.group().lease;
  for (const auto& stream : hello.streams) {
    if (stream.leaving) {
      welcome.streams.push_back(let_leave(hello, stream));
      continue;
    }
    auto taken = take_over(hello, stream, superseded);
    if (!taken && taken.error().code == Errc::closed) return taken.error();
    Answer answer{{stream.uuid, 0, 0}, 0, {}};
    if (taken) {
      streams_.push_back(*taken);
      (*taken)->refusal.clear();
      answer.ack.received = (*taken)->received;
      answer.ack.stored = volumes_.journal().stored_volume_seq(stream.uuid);
    } else {
      if (auto* volume = volumes_.find(stream.uuid)) volume->refusal = taken.error().text;
      answer.refusal = taken.error();
      answer.detached = detach(hello, stream);
    }
    welcome.streams.push_back(std::move(answer));
  }
  return welcome;
}

void MirrorIntake::close() {
  for (auto* volume : streams_) {
    if (volume->owner != this) continue;
    volume->owner = nullptr;
    volume->superseded = nullptr;
  }
  streams_.clear();
}

MirrorVolumes::Volume* MirrorIntake::mine(const Uuid& uuid) {
  auto* volume = volumes_.find(uuid);
  return volume != nullptr && volume->owner == this ? volume : nullptr;
}

Result<void> MirrorIntake::accept(const Record& record, std::uint64_t group_seq) {
  auto* volume = mine(volume_of(record));
  if (volume == nullptr)
    return Error{Errc::refused, fmt::format("a write for volume {}, which this session did not "
                                            "name or has lost to a newer one",
                                            to_text(volume_of(record)))};
  if (record.op == CASCADE_OP_MARK)
    return Error{Errc::refused, fmt::format("volume {}: a mark came from its primary; only the hub "
                                            "makes them",
                                            volume->config->name)};
  const std::uint64_t seq = volume_seq_of(record);
  if (seq != volume->received + 1)
    return Error{Errc::refused, fmt::format("volume {}: write {} came after write {}",
                                            volume->config->name, seq, volume->received)};
  if (!inside(record, volume->bytes))
    return Error{Errc::refused,
                 fmt::format("volume {}: write {} at sector {} goes past the hub's copy of {} "
                             "bytes; make the copy at least as large as the primary's",
                             volume->config->name, seq, sector_of(record), volume->bytes)};
  if ((record.flags & CASCADE_FLAG_RESYNC) != 0 && record.op != CASCADE_OP_NOOP &&
      !volumes_.bracket().may_resync(volume->config->uuid))
    return Error{Errc::refused, fmt::format("volume {}: write {} copies what is out of sync, which "
                                            "its hello did not speak of",
                                            volume->config->name, seq)};
  volume->received = seq;
  volume->last = group_seq;
  return {};
}

/// With less and less room there is more and more time for the remote and the copies to make some.
Duration MirrorIntake::pause() const {
  if (volumes_.group().on_journal_full != OnJournalFull::throttle) return {};
  const std::uint64_t quarter = volumes_.journal().size_bytes() / 4;
  const std::uint64_t used = volumes_.journal().used_bytes();
  if (quarter == 0 || used <= 3 * quarter) return {};
  return pause_max * (used - 3 * quarter) / quarter;
}

// The one place where writes of a group get their order.
Result<void> MirrorIntake::take(Incoming incoming) {
  volumes_.close_leases();
  drop_known(incoming);
  Result<void> outcome;
  std::uint64_t next = volumes_.journal().next_seq();
  std::size_t good = 0, good_bytes = 0;
  std::vector<Uuid> resynced;
  for (Record& record : incoming.records) {
    outcome = accept(record, next);
    if (!outcome) break;
    if (record.op == CASCADE_OP_NOOP && (record.flags & CASCADE_FLAG_RESYNC) != 0)
      resynced.push_back(volume_of(record));
    set_group_seq(record, next++);
    ++good;
    good_bytes += payload_bytes_of(record);
  }
  // What stands before a refused record has been counted, and is taken.
  incoming.records = incoming.records.first(good);
  incoming.payload = incoming.payload.first(good_bytes);
  if (good > 0) volumes_.journal().append(std::move(incoming));
  for (const Uuid& uuid : resynced) {
    auto* volume = volumes_.find(uuid);
    volume->differs &= ~std::uint32_t{CASCADE_DIFFERS_UNCLEAN | CASCADE_DIFFERS_LOCAL};
    volumes_.bracket().resynced(uuid, volume->received);
  }
  if (!volumes_.bracket().apart().empty())
    for (const auto* volume : streams_)
      volumes_.bracket().arrived(volume->config->uuid, volume->received);
  return outcome;
}

/// A resumed session may begin with writes that are already here.
void MirrorIntake::drop_known(Incoming& incoming) {
  std::size_t known = 0, known_bytes = 0;
  for (const Record& record : incoming.records) {
    const auto* volume = mine(volume_of(record));
    if (volume == nullptr || record.op == CASCADE_OP_MARK ||
        volume_seq_of(record) > volume->received)
      break;
    ++known;
    known_bytes += payload_bytes_of(record);
  }
  incoming.records = incoming.records.subspan(known);
  incoming.payload = incoming.payload.subspan(known_bytes);
}

void MirrorIntake::told(std::uint64_t renewal) {
  volumes_.close_leases();
  const auto then = renewals_.echoed(renewal);
  if (!then) return;
  for (auto* volume : streams_)
    if (volume->owner == this) volumes_.renewed(*volume, *then);
}

std::uint64_t MirrorIntake::tally(bool beat) {
  if (beat) renewal_ = renewals_.make(volumes_.now());
  return renewal_;
}

void MirrorIntake::acks(std::vector<Ack>& out) const {
  volumes_.close_leases();
  out.clear();
  for (const auto* volume : streams_) {
    const Uuid& uuid = volume->config->uuid;
    out.push_back({uuid, volume->received, volumes_.journal().stored_volume_seq(uuid)});
  }
}

std::optional<std::uint64_t> MirrorIntake::comparable_from(const Uuid& volume) const {
  const auto* known = volumes_.find(volume);
  return known != nullptr ? std::optional(known->unsure) : std::nullopt;
}

bool MirrorIntake::acks_receipt() const { return volumes_.group().hub_ack == AckWhen::memory_sync; }

}  // namespace cascade
