// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/mirror_intake.hpp"

#include <fmt/format.h>

#include <cstring>
#include <limits>

namespace cascade {
namespace {

constexpr std::uint64_t not_known = std::numeric_limits<std::uint64_t>::max();

}  // namespace

// ---- the volumes

MirrorVolumes::MirrorVolumes(const GroupConfig& group, Journal& journal)
    : group_(group), journal_(journal) {
  for (const VolumeConfig& volume : group.volumes) volumes_[volume.uuid].config = &volume;
}

void MirrorVolumes::load(const std::function<std::uint64_t(const Uuid&)>& bytes_of) {
  for (auto& [uuid, volume] : volumes_) {
    volume.bytes = bytes_of(uuid);
    volume.received = journal_.stored_volume_seq(uuid);
  }
}

MirrorVolumes::Volume* MirrorVolumes::find(const Uuid& uuid) {
  const auto found = volumes_.find(uuid);
  return found == volumes_.end() ? nullptr : &found->second;
}

void MirrorVolumes::hold_until_resent() {
  for (const auto& [uuid, volume] : volumes_)
    // A volume that has never written has nothing to send again.
    if (volume.received > 0) awaited_[uuid] = not_known;
  check_hold();
}

void MirrorVolumes::expect(const Uuid& volume, std::uint64_t last) {
  const auto found = awaited_.find(volume);
  if (found != awaited_.end() && found->second == not_known) found->second = last;
}

void MirrorVolumes::check_hold() {
  if (journal_.limit_seq() == not_known) return;
  std::erase_if(awaited_, [this](const auto& entry) {
    return entry.second != not_known && journal_.stored_volume_seq(entry.first) >= entry.second;
  });
  if (awaited_.empty()) journal_.set_limit(not_known);
}

// ---- one session

Result<MirrorVolumes::Volume*> MirrorIntake::entitled(const Hello& hello,
                                                      const Hello::Stream& stream) {
  auto* volume = volumes_.find(stream.uuid);
  if (volume == nullptr)
    return Error{Errc::refused,
                 fmt::format("group {} has no volume {} here; compare the configuration files of "
                             "{} and its hub",
                             volumes_.group().name, to_text(stream.uuid), hello.node)};
  if (volume->config->primary != hello.node)
    return Error{Errc::refused,
                 fmt::format("volume {} belongs to primary {}, not to {}; compare the "
                             "configuration files",
                             volume->config->name, volume->config->primary, hello.node)};
  if (!stream.fresh && volume->received > stream.last)
    return Error{Errc::refused,
                 fmt::format("volume {}: the hub holds writes through {}, but the ring of {} ends "
                             "at {}; the hub's journal is of another history",
                             volume->config->name, volume->received, hello.node, stream.last)};
  if (!stream.fresh && volume->received + 1 < stream.first)
    return Error{
        Errc::refused,
        fmt::format("volume {}: the hub holds writes through {}, but the ring of {} begins "
                    "at {}; the hub has lost writes it had acknowledged",
                    volume->config->name, volume->received, hello.node, stream.first)};
  return volume;
}

/// A fresh ring goes on behind what is stored: what is only received would be lost with this
/// daemon, and its numbers with it. So nothing of the ring before may be on its way when one
/// begins.
Result<void> MirrorIntake::settle(MirrorVolumes::Volume& volume) {
  if (volume.superseded && volume.owner != this) volume.superseded();
  volume.owner = nullptr;
  volume.superseded = nullptr;
  const std::uint64_t stored = volumes_.journal().stored_volume_seq(volume.config->uuid);
  if (stored == volume.received) return {};
  return Error{Errc::refused,
               fmt::format("volume {}: the hub is still storing writes {} to {} of its earlier "
                           "ring, and takes the new one after that",
                           volume.config->name, stored + 1, volume.received)};
}

Result<Welcome> MirrorIntake::open(const Hello& hello, std::function<void()> superseded) {
  std::vector<MirrorVolumes::Volume*> streams;
  for (const auto& stream : hello.streams) {
    auto volume = entitled(hello, stream);
    if (!volume) return volume.error();
    streams.push_back(*volume);
  }
  for (std::size_t i = 0; i < streams.size(); ++i)
    if (hello.streams[i].fresh)
      if (auto settled = settle(*streams[i]); !settled) return settled.error();
  Welcome welcome;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    auto* volume = streams[i];
    // What an older session still holds on its way in is dropped: the ring sends it again.
    if (volume->superseded && volume->owner != this) volume->superseded();
    volume->owner = this;
    volume->owner_peer = hello.node;
    volume->superseded = superseded;
    const Uuid& uuid = volume->config->uuid;
    volumes_.expect(uuid, hello.streams[i].fresh ? 0 : hello.streams[i].last);
    welcome.streams.push_back({uuid, volume->received, volumes_.journal().stored_volume_seq(uuid)});
  }
  streams_ = std::move(streams);
  volumes_.check_hold();
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

Result<void> MirrorIntake::accept(const Record& record) {
  auto* volume = mine(volume_of(record));
  if (volume == nullptr)
    return Error{Errc::refused, fmt::format("a write for volume {}, which this session did not "
                                            "name or has lost to a newer one",
                                            to_text(volume_of(record)))};
  const std::uint64_t seq = volume_seq_of(record);
  if (seq != volume->received + 1)
    return Error{Errc::refused, fmt::format("volume {}: write {} came after write {}",
                                            volume->config->name, seq, volume->received)};
  if (!inside(record, volume->bytes))
    return Error{Errc::refused,
                 fmt::format("volume {}: write {} at sector {} goes past the hub's copy of {} "
                             "bytes; make the copy at least as large as the primary's",
                             volume->config->name, seq, sector_of(record), volume->bytes)};
  volume->received = seq;
  return {};
}

// The one place where writes of a group get their order.
Result<void> MirrorIntake::take(Incoming incoming) {
  drop_known(incoming);
  Result<void> outcome;
  std::uint64_t next = volumes_.journal().next_seq();
  std::size_t good = 0, good_bytes = 0;
  for (Record& record : incoming.records) {
    outcome = accept(record);
    if (!outcome) break;
    set_group_seq(record, next++);
    ++good;
    good_bytes += payload_bytes_of(record);
  }
  // What stands before a refused record has been counted, and is taken.
  incoming.records = incoming.records.first(good);
  incoming.payload = incoming.payload.first(good_bytes);
  if (good > 0) volumes_.journal().append(std::move(incoming));
  return outcome;
}

/// A resumed session may begin with writes that are already here.
void MirrorIntake::drop_known(Incoming& incoming) {
  std::size_t known = 0, known_bytes = 0;
  for (const Record& record : incoming.records) {
    const auto* volume = mine(volume_of(record));
    if (volume == nullptr || volume_seq_of(record) > volume->received) break;
    ++known;
    known_bytes += payload_bytes_of(record);
  }
  incoming.records = incoming.records.subspan(known);
  incoming.payload = incoming.payload.subspan(known_bytes);
}

void MirrorIntake::acks(std::vector<Ack>& out) const {
  out.clear();
  for (const auto* volume : streams_) {
    const Uuid& uuid = volume->config->uuid;
    out.push_back({uuid, volume->received, volumes_.journal().stored_volume_seq(uuid)});
  }
}

bool MirrorIntake::acks_receipt() const { return volumes_.group().hub_ack == AckWhen::memory_sync; }

}  // namespace cascade
