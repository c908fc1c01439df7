// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/ring_feed.hpp"

#include "daemon/path/comparison.hpp"
#include "daemon/path/lease.hpp"
#include "daemon/path/progress.hpp"
#include "daemon/report/log.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {
namespace {

using report::Level;

// How long a new target waits for its daemon at the most.
constexpr std::chrono::milliseconds attach_interval{200};

// A volume that the hub refuses is offered again after 0.2, 0.4, ... 6.4 s.
constexpr std::chrono::milliseconds ask_interval_min{100};
constexpr int ask_doublings_max = 6;

}  // namespace

struct RingFeed::Volume {
  Volume(const Executor& executor, Clock& clock, const VolumeConfig& c)
      : config(c), retry(clock.timer()), armed(executor), crew(executor) {}

  const VolumeConfig& config;
  std::unique_ptr<Ring> ring;
  std::optional<Transit> transit;  // of what is in the ring
  std::optional<Comparison> comparison;
  std::optional<Verifier> verifier;
  std::string reason;
  std::unique_ptr<Timer> retry;
  Signal armed;       // somebody sleeps until this ring has records
  Progress progress;  // of what is out of sync
  Crew crew;
  bool sleeping = false;
  bool named = false;  // the session under way has this ring
  bool lost = false;
  // When the session began:
  std::uint64_t local_errors = 0;
  std::uint64_t sectors = 0;
  bool resyncing = false;  // the hub has opened its bracket for what is out of sync
  std::uint8_t fence = 0;  // cascade_fence, as the hello said
  std::optional<Duration> lease_until = {};  // on Clock::boottime()
  std::optional<Hello::Stream> left = {};    // removed in order, and the hub does not know it
  bool refused = false;             // by the hub, in the session under way; `reason` says why
  std::string witness;              // VolumeStatus
  std::uint64_t heard_sectors = 0;  // VolumeStatus
};

RingFeed::RingFeed(const Executor& executor, Clock& clock, RingHost& host, std::string subject,
                   std::vector<const VolumeConfig*> volumes)
    : executor_(executor),
      clock_(clock),
      host_(host),
      subject_(std::move(subject)),
      crew_(executor),
      work_(executor),
      let_go_(executor),
      ask_timer_(clock.timer()) {
  for (const VolumeConfig* volume : volumes)
    volumes_.push_back(std::make_unique<Volume>(executor, clock, *volume));
}

RingFeed::~RingFeed() = default;

// ---- rings coming and going

Task<> RingFeed::run() {
  for (auto& volume : volumes_) crew_.add(serve(*volume));
  crew_.add(ask_again());
  co_await crew_.join();
}

void RingFeed::stop() {
  stopping_ = true;
  for (auto& volume : volumes_) {
    volume->retry->cancel();
    volume->armed.notify();
    if (volume->comparison) volume->comparison->stop();
    if (volume->verifier) volume->verifier->stop();
    if (volume->ring) volume->ring->close();
  }
  ask_timer_->cancel();
  work_.notify();
  let_go_.notify();
}

Task<> RingFeed::serve(Volume& volume) {
  while (!stopping_) {
    co_await attach(volume);
    if (stopping_) co_return;
    volume.crew.add(watch_readable(volume));
    volume.crew.add(volume.comparison->run());
    volume.crew.add(volume.verifier->run());
    const Error why = co_await volume.ring->lost();
    volume.lost = true;
    changed_ = true;
    note_end(volume);
    volume.armed.notify();
    volume.comparison->stop();
    volume.verifier->stop();
    volume.ring->close();
    work_.notify();
    if (!stopping_) report(volume, why.text);
    co_await volume.crew.join();
    // A session may be sending from the ring's memory.
    while (volume.named) co_await let_go_.wait();
    volume.comparison.reset();
    volume.verifier.reset();
    volume.ring.reset();
    volume.lost = false;
  }
}

/// The hub does not have to wait for a volume that has ended in order: it can't go on alone.
void RingFeed::note_end(Volume& volume) {
  RingView& view = volume.ring->view();
  if (!volume.ring->started() || !view.clean() || view.stored() != view.published()) return;
  Hello::Stream& left = volume.left.emplace();
  left.uuid = volume.config.uuid;
  left.first = view.stored() + 1;
  left.last = view.stored();
  left.incarnation = volume.ring->shape().incarnation;
  left.leaving = true;
}

Task<> RingFeed::attach(Volume& volume) {
  while (!stopping_) {
    auto ring = host_.attach(volume.config.uuid);
    if (ring) {
      volume.ring = std::move(*ring);
      volume.transit.emplace(clock_, latencies_);
      volume.comparison.emplace(executor_, clock_, *volume.ring, volume.config.uuid, work_);
      volume.verifier.emplace(executor_, clock_, *volume.ring);
      volume.ring->report_link(state_);
      volume.reason.clear();
      volume.witness.clear();
      volume.lease_until.reset();
      report::log(Level::notice, fmt::format("{}/{}", subject_, volume.config.name), "attached");
      changed_ = true;
      work_.notify();
      co_return;
    }
    // A target that is not there yet is no news.
    if (ring.error().code == Errc::not_found)
      volume.reason = ring.error().text;
    else
      report(volume, ring.error().text);
    co_await volume.retry->sleep(attach_interval);
  }
}

void RingFeed::report(Volume& volume, const std::string& reason) {
  if (reason == volume.reason) return;
  volume.reason = reason;
  report::log(Level::warning, fmt::format("{}/{}", subject_, volume.config.name), reason);
}

Task<> RingFeed::watch_readable(Volume& volume) {
  while (!stopping_ && !volume.lost) {
    if (!volume.sleeping) {
      co_await volume.armed.wait();
      continue;
    }
    if (auto readable = co_await volume.ring->readable(); !readable) co_return;
    volume.sleeping = false;
    work_.notify();
  }
}

std::vector<RingFeed::VolumeStatus> RingFeed::status() {
  std::vector<VolumeStatus> out;
  for (const auto& volume : volumes_) {
    // One that has gone on alone is there, though its ring is lost.
    const bool there = volume->ring && (!volume->lost || volume->ring->view().alone_ns() != 0);
    VolumeStatus s{&volume->config, there, volume->reason};
    s.refused = volume->refused;
    s.witness = volume->witness;
    s.leaving = !there && volume->left;
    if (volume->ring) {
      const RingView& view = volume->ring->view();
      s.shape = volume->ring->shape();
      s.shape.sectors = volume->ring->sectors();
      s.heard_sectors = volume->heard_sectors;
      s.published = view.published();
      s.received = view.received();
      s.stored = view.stored();
      s.released = view.released();
      s.differs = view.differs();
      s.local_errors = view.local_errors();
      s.out_of_sync = view.out_of_sync();
      s.resynced = view.resynced();
      s.same = volume->comparison->same_bytes();
      s.verify = volume->verifier->status();
      volume->progress.sample(clock_.boottime(), s.out_of_sync);
      if (volume->resyncing) s.resync_seconds = volume->progress.seconds_left();
      s.alone_ns = view.alone_ns();
      s.fence = static_cast<std::uint8_t>(view.fence());
      if (volume->lease_until)
        s.lease_left = std::max(Duration{}, *volume->lease_until - clock_.boottime());
    }
    out.push_back(std::move(s));
  }
  return out;
}

// ---- a session

std::vector<Hello::Stream> RingFeed::streams() {
  changed_ = false;
  ask_at_.reset();
  std::vector<Hello::Stream> out;
  for (auto& volume : volumes_) {
    volume->named = volume->ring && !volume->lost;
    if (volume->named) volume->left.reset();
    if (volume->left) out.push_back(*volume->left);
    if (!volume->named) continue;
    const bool fresh = !volume->ring->started();
    RingView& view = volume->ring->view();
    (void)view.has_records();  // looks at the kernel's count once more
    Hello::Stream stream{volume->config.uuid, fresh ? 0 : view.released() + 1,
                         fresh ? 0 : view.published(), fresh};
    const RingShape shape = volume->ring->shape();
    volume->sectors = volume->ring->sectors();
    stream.bytes = volume->sectors * CASCADE_SECTOR_BYTES;
    stream.block = shape.block;
    stream.hub_ack = shape.hub_ack;
    stream.incarnation = shape.incarnation;
    stream.generation = shape.generation;
    stream.differs = static_cast<std::uint8_t>(view.differs());
    volume->local_errors = view.local_errors();
    stream.out_of_sync = view.out_of_sync();
    volume->resyncing = stream.out_of_sync > 0;
    stream.fence = volume->fence = static_cast<std::uint8_t>(view.fence());
    stream.parent = shape.parent;
    stream.clean = shape.clean;
    stream.numbered = shape.numbered;
    stream.end_seq = shape.end_seq;
    stream.journal = shape.journal;
    out.push_back(stream);
  }
  return out;
}

Task<Result<void>> RingFeed::begin(const Welcome& welcome) {
  std::vector<Ack> acks;
  bool refused = false;
  for (const Answer& answer : welcome.streams) {
    if (forget_left(answer.ack.stream)) continue;
    Volume* volume = in_session(answer.ack.stream);
    if (volume == nullptr)
      co_return Error{Errc::refused, "the hub answers for a volume that we did not name"};
    auto ready = answer.refusal ? *answer.refusal : go_on(*volume, answer.ack, welcome);
    volume->refused = !ready;
    volume->heard_sectors = volume->sectors;
    if (!ready) {
      report(*volume, ready.error().text);
      if (answer.detached && volume->fence == CASCADE_FENCE_STATUS) leave_hub(*volume);
      volume->named = false;
      refused = true;
      continue;
    }
    volume->reason.clear();
    volume->witness.clear();
    volume->verifier->session(welcome.verifies);
    acks.push_back(answer.ack);
  }
  hub_verifies_ = welcome.verifies;
  lease_ = welcome.lease;
  renewal_ = 0;
  if (auto taken = told(1); !taken) co_return taken;
  refusals_ = refused ? std::min(refusals_ + 1, ask_doublings_max) : 0;
  if (refused)
    ask_at_ = clock_.now() + ask_interval_min * (1 << refusals_);
  else
    ask_at_.reset();
  ask_timer_->cancel();
  let_go_.notify();
  in_session_ = true;
  co_return acked(acks);
}

/// The hub has detached the volume, or will have by now: its writes go on.
bool RingFeed::leave_hub(Volume& volume) {
  if (volume.ring->view().alone_ns() != 0) return true;
  const auto left = volume.ring->alone();
  if (left) return true;
  report::log(Level::error, fmt::format("{}/{}", subject_, volume.config.name), left.error().text);
  return false;
}

/// Not only offered: the hub has welcomed it.
bool RingFeed::is_served(const Volume& volume) const { return in_session_ && volume.named; }

std::map<Uuid, Uuid> RingFeed::wants_alone() {
  std::map<Uuid, Uuid> out;
  for (auto& volume : volumes_) {
    if (!volume->ring || volume->lost || is_served(*volume) || !volume->ring->started()) continue;
    RingView& view = volume->ring->view();
    if (view.fence() != CASCADE_FENCE_WITNESS || view.alone_ns() != 0) continue;
    if (!volume->lease_until || clock_.boottime() < *volume->lease_until) continue;
    (void)view.has_records();  // looks at the kernel's count once more
    if (view.published() > view.stored())
      out[volume->config.uuid] = volume->ring->shape().generation;
  }
  return out;
}

bool RingFeed::hear_witness(const Uuid& uuid, const std::optional<Error>& refusal) {
  Volume* volume = with_ring(uuid);
  if (volume == nullptr || is_served(*volume)) return false;
  if (!refusal) return leave_hub(*volume);
  const std::string said =
      fmt::format("the witness does not let it go on alone: {}", refusal->text);
  if (std::exchange(volume->witness, said) != said)
    report::log(Level::warning, fmt::format("{}/{}", subject_, volume->config.name), said);
  return false;
}

/// The hub has heard that the volume has left.
bool RingFeed::forget_left(const Uuid& uuid) {
  for (auto& volume : volumes_) {
    if (volume->config.uuid != uuid || !volume->left) continue;
    volume->left.reset();
    // A session without a volume serves nobody.
    changed_ = true;
    work_.notify();
    return true;
  }
  return false;
}

Result<void> RingFeed::go_on(Volume& volume, const Ack& ack, const Welcome& welcome) {
  Ring& ring = *volume.ring;
  auto ready = ring.started() ? ring.view().rewind_to(ack.received)
                              : ring.start(ack.received, welcome.journal);
  return ready && volume.resyncing ? begin_resync(volume, welcome.answers_asks) : ready;
}

/// What the hub has already is found first; the rest is copied behind that.
Result<void> RingFeed::begin_resync(Volume& volume, bool hub_answers) {
  if (!hub_answers || !volume.ring->can_compare()) return volume.ring->resync(true, Ring::no_limit);
  volume.comparison->begin(std::max<std::size_t>(limits::asks_max / volumes_.size(), 1));
  return {};
}

/// What a failed write left behind is out of sync; nothing else becomes so under way, but what a
/// volume has grown by. The hub has to know: a new session tells it.
void RingFeed::look_for_changes(const Volume& volume) {
  if (volume.ring->view().local_errors() == volume.local_errors &&
      volume.ring->sectors() == volume.sectors)
    return;
  changed_ = true;
  work_.notify();
}

/// Taken here before it is echoed: the hub counts on that.
Result<void> RingFeed::told(std::uint64_t renewal) {
  if (lease_ == Duration{} || renewal <= renewal_) return {};
  for (auto& volume : volumes_) {
    if (!volume->named) continue;
    if (volume->lost) return Error{Errc::closed, "the set of volumes has changed"};
    if (auto taken = take_lease(*volume); !taken) return taken;
    look_for_changes(*volume);
  }
  renewal_ = renewal;
  work_.notify();
  return {};
}

Result<void> RingFeed::take_lease(Volume& volume) {
  RingView& view = volume.ring->view();
  // The hub has to know the level first.
  if (view.fence() != volume.fence) {
    changed_ = true;
    work_.notify();
  }
  const Duration held = lease_ + lease_margin(lease_);
  if (auto taken = volume.ring->lease(held, volume.fence); !taken) return taken;
  volume.lease_until = clock_.boottime() + held;
  return {};
}

/// What was refused may be mended by now: a new session asks again, for all volumes.
Task<> RingFeed::ask_again() {
  while (!stopping_) {
    const TimePoint now = clock_.now();
    if (!ask_at_ || now < *ask_at_) {
      co_await ask_timer_->sleep(ask_at_ ? *ask_at_ - now : Duration(std::chrono::hours(1)));
      continue;
    }
    ask_at_.reset();
    changed_ = true;
    work_.notify();
  }
}

void RingFeed::end() {
  in_session_ = false;
  lease_ = {};
  renewal_ = 0;
  for (auto& volume : volumes_) {
    if (volume->comparison) volume->comparison->end();
    if (volume->verifier) volume->verifier->session(false);
    if (volume->named && volume->resyncing && !volume->lost)
      (void)volume->ring->resync(false, Ring::no_limit);
    if (volume->transit) volume->transit->forget();
    volume->named = false;
  }
  ask_at_.reset();
  let_go_.notify();
}

RingFeed::Volume* RingFeed::in_session(const Uuid& uuid) {
  for (auto& volume : volumes_)
    if (volume->config.uuid == uuid && volume->named) return volume.get();
  return nullptr;
}

Task<Result<std::optional<Outgoing>>> RingFeed::next() {
  using Answer = Result<std::optional<Outgoing>>;
  if (changed_) co_return Error{Errc::closed, "the set of volumes has changed"};
  for (std::size_t i = 0; i < volumes_.size(); ++i) {
    turn_ = (turn_ + 1) % volumes_.size();
    Volume& volume = *volumes_[turn_];
    if (!volume.named) continue;
    auto batch =
        volume.ring->view().peek(limits::frame_records_max, limits::frame_payload_bytes_max);
    if (!batch) {
      report(volume, batch.error().text);
      co_return batch.error();
    }
    if (batch->records.empty()) continue;
    // Taken before it is sent: a session that fails begins anew from what the hub has.
    volume.ring->view().take(batch->records.size());
    volume.transit->taken(batch->records);
    piece_ = {batch->records, batch->payload};
    co_return Answer(Outgoing{std::span(&piece_, 1)});
  }
  co_return Answer(std::nullopt);
}

Task<> RingFeed::wait() {
  bool work = changed_;
  for (auto& volume : volumes_)
    if (volume->named && !volume->ring->view().prepare_to_sleep()) work = true;
  if (!work && !stopping_) {
    for (auto& volume : volumes_) {
      volume->sleeping = volume->named;
      volume->armed.notify();
    }
    co_await work_.wait();
  }
  for (auto& volume : volumes_)
    if (volume->named && !volume->lost) volume->ring->view().woken();
}

Result<void> RingFeed::acked(std::span<const Ack> acks) {
  for (const Ack& ack : acks) {
    Volume* volume = in_session(ack.stream);
    if (volume == nullptr)
      return Error{Errc::refused, "the hub acknowledges writes of a volume that we did not name"};
    if (volume->lost) continue;
    look_for_changes(*volume);
    if (ack.received > volume->ring->view().taken())
      return Error{
          Errc::refused,
          fmt::format("the hub acknowledges write {} of volume {}, which was not sent: the "
                      "last one was {}",
                      ack.received, volume->config.name, volume->ring->view().taken())};
    const bool on_receipt = volume->ring->shape().hub_ack == CASCADE_ACK_MEMORY_SYNC;
    volume->transit->arrived(on_receipt ? ack.received : ack.stored);
    if (!volume->ring->view().acknowledge(ack.received, ack.stored)) continue;
    if (auto rung = volume->ring->doorbell(); !rung) return rung;
  }
  return {};
}

// ---- what the hub's copies hold

/// So many questions more may be open in a session.
std::size_t RingFeed::asks_room() const {
  std::size_t waiting = 0;
  for (const auto& volume : volumes_)
    if (volume->named) waiting += volume->comparison->questions().waiting();
  return limits::asks_max - std::min(waiting, limits::asks_max);
}

bool RingFeed::has_asks() const {
  const auto asks = [](const auto& volume) {
    return volume->named && volume->comparison->questions().to_send();
  };
  return std::any_of(volumes_.begin(), volumes_.end(), asks) && asks_room() > 0;
}

std::vector<Ask> RingFeed::asks() {
  std::vector<Ask> out;
  std::size_t room = asks_room();
  for (auto& volume : volumes_) {
    if (!volume->named) continue;
    const auto asks = volume->comparison->questions().send(room);
    out.insert(out.end(), asks.begin(), asks.end());
    room -= asks.size();
  }
  return out;
}

Result<void> RingFeed::answered(std::span<const Sum> sums) {
  for (const Sum& sum : sums) {
    Volume* volume = in_session(sum.of.volume);
    if (volume == nullptr)
      return Error{Errc::refused,
                   "the hub says what its copy of a volume holds that we did not name"};
    if (auto expected = volume->comparison->answered(sum); !expected) return expected;
  }
  work_.notify();
  return {};
}

// ---- comparing all of a volume

RingFeed::Volume* RingFeed::with_ring(const Uuid& uuid) {
  for (auto& volume : volumes_)
    if (volume->config.uuid == uuid && volume->ring && !volume->lost) return volume.get();
  return nullptr;
}

Result<void> RingFeed::begin_verify(const Uuid& uuid, const Verifier::Order& order) {
  Volume* volume = with_ring(uuid);
  if (volume == nullptr)
    return Error{Errc::refused, "it has no device, or goes on alone: nothing can be compared now"};
  if (!hub_verifies_)
    return Error{Errc::refused,
                 "its hub, or the remote behind that, runs a version that can't "
                 "compare; upgrade it"};
  return volume->verifier->begin(order);
}

Result<void> RingFeed::end_verify(const Uuid& uuid) {
  Volume* volume = with_ring(uuid);
  if (volume == nullptr) return Error{Errc::refused, "it is not being compared"};
  return volume->verifier->end();
}

void RingFeed::verified(Verified found) {
  if (Volume* volume = with_ring(found.volume)) volume->verifier->learn(found);
}

void RingFeed::link_state(LinkState state) {
  if (state == state_) return;
  state_ = state;
  for (auto& volume : volumes_)
    if (volume->ring && !volume->lost) volume->ring->report_link(state);
}

}  // namespace cascade
