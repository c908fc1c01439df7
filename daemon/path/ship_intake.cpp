// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/ship_intake.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cascade {
namespace {

// A hub ships at most one batch ahead of what it has stored, and one may be on its way.
constexpr std::size_t held_bytes_max =
    4 * (limits::batch_payload_bytes_max + limits::batch_records_max * sizeof(Record));

std::uint64_t last_seq(const Incoming& in) { return group_seq_of(in.records.back()); }

}  // namespace

Result<Welcome> ShipIntake::open(const Hello& hello, EndSession superseded) {
  const auto& stream = hello.streams.front();
  if (stream.uuid != state_.group.uuid)
    return Error{Errc::refused,
                 fmt::format("group {}: the hub offers another group's writes", state_.group.name)};
  const std::uint64_t here = state_.journal.received_seq();
  if (hello.node != state_.group.hub)
    return Error{Errc::refused, fmt::format("group {}: the hub is {}, not {}; compare the "
                                            "configuration files",
                                            state_.group.name, state_.group.hub, hello.node)};
  if (here > stream.last)
    return Error{Errc::refused,
                 fmt::format("group {}: the remote holds writes through {}, but the hub's journal "
                             "ends at {}; it is not the journal that this remote has followed",
                             state_.group.name, here, stream.last)};
  const bool behind = here + 1 < stream.first;
  // One that rejoins is told what to do by its hub, once that has heard of it.
  if (behind && !stream.gap && !state_.journal.rejoins())
    return Error{Errc::refused,
                 fmt::format("group {}: the remote holds writes through {}, but the hub's journal "
                             "begins at {}; the remote's journal is new or too far behind",
                             state_.group.name, here, stream.first)};
  std::set<Uuid> leaving;
  for (const auto& volume : std::span(hello.streams).subspan(1)) {
    if (auto ok = fits(volume); !ok) return ok.error();
    if (volume.leaving) leaving.insert(volume.uuid);
  }
  learn_generations(hello);
  state_.leaving = std::move(leaving);
  state_.gap.reset();
  if (behind && stream.gap) state_.gap = {stream.first - 1, stream.history};
  if (state_.superseded && state_.owner != this)
    state_.superseded("a newer session has taken over");
  state_.owner = this;
  state_.superseded = std::move(superseded);
  // The hub may have crashed since and numbered anew what is held here: it sends it again.
  state_.held.clear();
  state_.held_bytes = 0;
  Answer answer{{state_.group.uuid, here, state_.journal.stored_seq()},
                state_.journal.received_history()};
  answer.gap = state_.journal.has_gap();
  Welcome welcome;
  welcome.streams.push_back(std::move(answer));
  for (const auto& volume : std::span(hello.streams).subspan(1))
    welcome.streams.push_back({{volume.uuid, 0, 0}, 0, {}});
  return welcome;
}

/// So that this node can say what its copies are of, once the hub is gone.
void ShipIntake::learn_generations(const Hello& hello) {
  for (const auto& volume : std::span(hello.streams).subspan(1))
    if (!volume.leaving && volume.generation != Uuid{})
      state_.journal.set_source(volume.uuid, {.generation = volume.generation});
}

void ShipIntake::close() {
  if (state_.owner != this) return;
  state_.owner = nullptr;
  state_.superseded = nullptr;
}

/// Whether this node can follow what the hub says of a volume. One that it can't follow holds up
/// the group: its writes have their places in the group's order.
Result<void> ShipIntake::fits(const Hello::Stream& volume) const {
  const auto copy = state_.copies.find(volume.uuid);
  if (copy == state_.copies.end() && !volume.leaving)
    return Error{Errc::refused,
                 fmt::format("group {}: the remote's file has no volume {}; give all "
                             "nodes the same file",
                             state_.group.name, to_text(volume.uuid))};
  if (copy != state_.copies.end() && state_.journal.dropped(volume.uuid))
    return Error{Errc::refused,
                 fmt::format("group {}: the remote's copy of volume {} lacks writes, which came to "
                             "their turn while the remote's file did not have it; begin anew "
                             "(dmcascade(8))",
                             state_.group.name, to_text(volume.uuid))};
  if (copy != state_.copies.end() && volume.bytes > copy->second.bytes) {
    if (state_.too_small && state_.too_small(volume.uuid, volume.bytes)) return copy_has_grown();
    return Error{
        Errc::refused,
        fmt::format("group {}: volume {} has {} bytes, the remote's copy only {}; make the copy at "
                    "least as large, and it is taken by itself",
                    state_.group.name, to_text(volume.uuid), volume.bytes, copy->second.bytes)};
  }
  return {};
}

/// The group_seq of the first record, if all of them follow it without a gap.
Result<std::uint64_t> ShipIntake::first_of_run(const Incoming& incoming) const {
  const std::uint64_t first = group_seq_of(incoming.records.front());
  std::uint64_t next = first;
  for (const Record& record : incoming.records) {
    if (group_seq_of(record) != next || next == 0)
      return Error{Errc::refused,
                   fmt::format("group {}: a frame has write {} where write {} belongs",
                               state_.group.name, group_seq_of(record), next)};
    ++next;
  }
  return first;
}

/// Whether this node has a copy that the write fits into.
Result<void> ShipIntake::check(const Record& record) const {
  if (record.op == CASCADE_OP_MARK && volume_of(record) == state_.group.uuid) return {};
  const auto copy = state_.copies.find(volume_of(record));
  if (copy == state_.copies.end() && state_.leaving.contains(volume_of(record))) return {};
  if (copy == state_.copies.end())
    return Error{Errc::refused,
                 fmt::format("group {}: write {} is for volume {}, which the configuration of the "
                             "remote does not have; give it the hub's file",
                             state_.group.name, group_seq_of(record), to_text(volume_of(record)))};
  if (!inside(record, copy->second.bytes))
    return Error{Errc::refused,
                 fmt::format("group {}: write {} of volume {} goes past the remote's copy of {} "
                             "bytes; make the copy at least as large as the primary's",
                             state_.group.name, group_seq_of(record), to_text(volume_of(record)),
                             copy->second.bytes)};
  return {};
}

Result<void> ShipIntake::take(Incoming incoming) {
  if (state_.owner != this)
    return Error{Errc::refused, "a newer session of the hub has taken over"};
  const auto first = first_of_run(incoming);
  if (!first) return first.error();
  const bool jumps = state_.gap && *first == state_.gap->seq + 1;
  const std::uint64_t expected = jumps ? *first : state_.received_seq() + 1;
  if (*first > expected)
    return Error{Errc::refused, fmt::format("group {}: write {} came after write {}",
                                            state_.group.name, *first, expected - 1)};
  // A resumed session may begin with writes that are already here.
  const std::size_t skip = std::min<std::uint64_t>(expected - *first, incoming.records.size());
  std::size_t skip_bytes = 0;
  for (const Record& record : incoming.records.first(skip)) skip_bytes += payload_bytes_of(record);
  incoming.records = incoming.records.subspan(skip);
  incoming.payload = incoming.payload.subspan(skip_bytes);
  if (incoming.records.empty()) return {};
  for (const Record& record : incoming.records)
    if (auto ok = check(record); !ok) return ok;
  if (jumps) state_.journal.append_jump(*std::exchange(state_.gap, std::nullopt));
  state_.held_bytes += incoming.held_bytes();
  state_.held_seq = last_seq(incoming);
  state_.held.push_back(std::move(incoming));
  release_held();
  if (state_.held_bytes > held_bytes_max)
    return Error{Errc::refused, fmt::format("group {}: more than {} bytes that the hub has not "
                                            "stored itself",
                                            state_.group.name, held_bytes_max)};
  return {};
}

void ShipIntake::told(std::uint64_t group_seq) {
  if (state_.realtime_ns) state_.heard_ns = state_.realtime_ns();
  if (state_.owner != this || group_seq <= state_.upstream_stored) return;
  state_.upstream_stored = group_seq;
  release_held();
}

void ShipIntake::release_held() {
  while (!state_.held.empty() && last_seq(state_.held.front()) <= state_.upstream_stored) {
    Incoming& in = state_.held.front();
    state_.held_bytes -= in.held_bytes();
    state_.journal.append(std::move(in));
    state_.held.pop_front();
  }
}

void ShipIntake::acks(std::vector<Ack>& out) const {
  out.clear();
  out.push_back({state_.group.uuid, state_.received_seq(), state_.journal.stored_seq()});
}

/// What was received in order and never came to its turn, since a bracket was open before, would
/// undo what was taken for the same.
std::optional<std::uint64_t> ShipIntake::comparable_from(const Uuid&) const {
  if (state_.journal.jump_pending()) return std::nullopt;
  const Gap& gap = state_.journal.places().gap();
  return state_.gap || gap.first == 0 ? state_.journal.received_seq() : gap.first - 1;
}

bool ShipIntake::acks_receipt() const { return state_.group.remote_ack == AckWhen::memory_sync; }

}  // namespace cascade
