// SPDX-License-Identifier: GPL-2.0-or-later
//
// The group's witness, its remote: what it is asked by primaries and the hub, and what it says.
#include "daemon/group.hpp"

#include "daemon/path/backoff.hpp"
#include "daemon/report/log.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

#include <array>

namespace cascade {

using report::Level;

namespace {

constexpr const char* not_granted = "not-granted";

}  // namespace

void GroupNode::know_witness() {
  petitioner_ = std::make_unique<Petitioner>(seams_.executor, seams_.clock, seams_.net, times_,
                                             node_, group_.uuid, *config_.node(group_.remote));
  wish_timer_ = seams_.clock.timer();
  withdraw_timer_ = seams_.clock.timer();
}

/// Until the witness has heard that, or this node stops.
Task<> GroupNode::withdraw(Petition petition, Timer& timer) {
  petition.withdrawn = true;
  Backoff backoff(times_.reconnect_min, times_.reconnect_max);
  while (!stopping_) {
    const auto answers = co_await petitioner_->ask(petition);
    if (answers && !answers->front().refusal) co_return;
    if (!stopping_) co_await timer.sleep(backoff.next());
  }
}

// ---- on a primary

Task<> GroupNode::ask_to_go_alone() {
  Backoff backoff(times_.reconnect_min, times_.reconnect_max);
  while (!stopping_) {
    Petition petition{petitioner_->next_name()};
    petition.volumes = ring_feed_->wants_alone();
    if (petition.volumes.empty()) {
      backoff.reset();
      co_await wish_timer_->sleep(times_.heartbeat);
      continue;
    }
    co_await let_go_alone(petition);
    if (!stopping_) co_await wish_timer_->sleep(backoff.next());
  }
}

/// What it may have granted and nobody made use of is given back, before anything else is asked.
Task<> GroupNode::let_go_alone(const Petition& petition) {
  const auto answers = co_await petitioner_->ask(petition);
  Petition unused = petition;
  std::size_t i = 1;
  for (const auto& [volume, generation] : petition.volumes) {
    const std::optional<Error> refusal = answers ? (*answers)[i++].refusal : answers.error();
    if (ring_feed_->hear_witness(volume, refusal) || (answers && refusal))
      unused.volumes.erase(volume);
  }
  if (!unused.volumes.empty()) co_await withdraw(unused, *wish_timer_);
}

// ---- on the hub

/// Of all volumes, whoever their primaries are: from what their copies here are of.
Petition GroupNode::petition_for(const Uuid& name) const {
  Petition petition{name, true};
  for (const VolumeConfig& volume : group_.volumes)
    if (const Uuid from = storage_->journal->source(volume.uuid).generation; from != Uuid{})
      petition.volumes[volume.uuid] = from;
  return petition;
}

Error GroupNode::does_not_grant(const std::string& why) const {
  return {Errc::refused, fmt::format("the witness, {}, does not grant it: {}. To accept that: "
                                     "--force={}",
                                     group_.remote, why, not_granted)};
}

/// True, and the witness is being asked; or what it said last time. What it may have granted has to
/// be withdrawn before: else that could be taken for this.
Result<bool> GroupNode::may_ask_witness(const Takeover& wanted,
                                        const std::vector<std::string>& force) {
  if (asks_witness_) return true;
  const bool forced = api::accepts(force, not_granted);
  const auto refused = std::exchange(witness_refused_, std::nullopt);
  if (refused && !forced) return *refused;
  if (storage_->journal->petition() != Uuid{} && !forced)
    return does_not_grant(
        "it was asked before, has not answered, and can't be told yet that this "
        "is over");
  asks_witness_ = true;
  crew_.add(ask_to_be_promoted(wanted, force));
  return true;
}

/// What it may grant is on this journal's disk before: it is withdrawn after a crash.
Task<> GroupNode::ask_to_be_promoted(Takeover wanted, std::vector<std::string> force) {
  Journal& journal = *storage_->journal;
  journal.set_petition(petitioner_->next_name());
  if (auto kept = co_await journal.persist(); !kept) co_return;  // watch_storage() says why
  Petition petition = petition_for(journal.petition());
  petition.forced = api::accepts(force, not_granted);
  const auto answers = co_await petitioner_->ask(petition);
  asks_witness_ = false;
  if (stopping_) co_return;
  std::optional<Error> refusal = answers ? answers->front().refusal : answers.error();
  // It has come back from having been alone meanwhile, and may be again.
  const bool outdated = petition_for(petition.name).volumes != petition.volumes;
  if (!refusal && outdated) refusal = Error{Errc::refused, "a volume has come back meanwhile"};
  if (!refusal || petition.forced) {
    decide_takeover(wanted, force);
    co_return;
  }
  witness_refused_ = does_not_grant(refusal->text);
  if (!answers || !answers->front().refusal) {
    co_await withdraw_petition();
    co_return;
  }
  journal.set_petition({});
  (void)co_await journal.persist();
}

/// Unless another one has taken its place by then, nothing is asked any more.
Task<> GroupNode::withdraw_petition() {
  Journal& journal = *storage_->journal;
  const Petition petition = petition_for(journal.petition());
  co_await withdraw(petition, *withdraw_timer_);
  if (stopping_ || journal.petition() != petition.name) co_return;
  journal.set_petition({});
  (void)co_await journal.persist();
}

// ---- the witness

void GroupNode::say_as_witness(const Hello& hello, const Welcome& welcome) {
  const Hello::Stream& asked = hello.streams.front();
  for (const Answer& answer : welcome.streams) {
    if ((answer.ack.stream == group_.uuid) != asked.promotion) continue;
    report::log(
        witness_lines_, seams_.clock.now(), Level::notice, group_.name,
        fmt::format("as witness, to {}, which asked to {}: {}", hello.node,
                    asked.promotion ? "be promoted"
                                    : "go on alone with " + group_.name_of(answer.ack.stream),
                    asked.withdrawn  ? "it does not any more"
                    : answer.refusal ? answer.refusal->text
                                     : "granted"));
  }
}

Task<> GroupNode::witness(std::unique_ptr<Stream> stream, Hello hello) {
  SilenceWatch watch(seams_.clock, *stream, times_.silence_max);
  Crew crew(seams_.executor);
  crew.add(watch.run());
  const auto welcome = decide(group_, *storage_->journal, node_, hello);
  const auto kept = co_await storage_->journal->persist();
  if (!welcome) {
    co_await send_refusal(*stream, welcome.error());
  } else if (kept) {
    say_as_witness(hello, *welcome);
    const Bytes frame = encode_welcome(*welcome);
    const std::array buffers{asio::const_buffer(frame.data(), frame.size())};
    (void)co_await stream->write(buffers);
  }
  watch.stop();
  stream->close();
  co_await crew.join();
}

/// What this node has granted to others, from just what its own copies are of.
void GroupNode::doubt_grants(Doubts& out) const {
  const Journal& journal = *storage_->journal;
  for (const VolumeConfig& volume : group_.volumes) {
    const Grant& grant = journal.grant(volume.uuid);
    const Uuid from = journal.source(volume.uuid).generation;
    if (from == Uuid{} || (grant.alone != from && grant.promotion != from)) continue;
    out.push_back({not_granted, volume.name,
                   fmt::format("as witness, this node has let it {} at {}",
                               grant.promotion == from ? "be promoted on " + group_.hub
                                                       : "go on alone on " + volume.primary,
                               report::rfc3339(journal.granted_time_ns()))});
  }
}

}  // namespace cascade
