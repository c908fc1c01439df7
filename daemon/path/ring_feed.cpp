// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/ring_feed.hpp"

#include "daemon/report/log.hpp"

#include <fmt/format.h>

namespace cascade {
namespace {

using report::Level;

// How long a new target waits for its daemon at the most.
constexpr std::chrono::milliseconds attach_interval{200};

}  // namespace

struct RingFeed::Volume {
  Volume(const Executor& executor, Clock& clock, const VolumeConfig& c)
      : config(c), retry(clock.timer()), armed(executor), crew(executor) {}

  const VolumeConfig& config;
  std::unique_ptr<Ring> ring;
  std::string reason;
  std::unique_ptr<Timer> retry;
  Signal armed;  // somebody sleeps until this ring has records
  Crew crew;
  bool sleeping = false;
  bool named = false;  // the session under way has this ring
  bool lost = false;
};

RingFeed::RingFeed(const Executor& executor, Clock& clock, RingHost& host, std::string subject,
                   std::vector<const VolumeConfig*> volumes)
    : clock_(clock),
      host_(host),
      subject_(std::move(subject)),
      crew_(executor),
      work_(executor),
      let_go_(executor) {
  for (const VolumeConfig* volume : volumes)
    volumes_.push_back(std::make_unique<Volume>(executor, clock, *volume));
}

RingFeed::~RingFeed() = default;

// ---- rings coming and going

Task<> RingFeed::run() {
  for (auto& volume : volumes_) crew_.add(serve(*volume));
  co_await crew_.join();
}

void RingFeed::stop() {
  stopping_ = true;
  for (auto& volume : volumes_) {
    volume->retry->cancel();
    volume->armed.notify();
    if (volume->ring) volume->ring->close();
  }
  work_.notify();
  let_go_.notify();
}

Task<> RingFeed::serve(Volume& volume) {
  while (!stopping_) {
    co_await attach(volume);
    if (stopping_) co_return;
    volume.crew.add(watch_readable(volume));
    const Error why = co_await volume.ring->lost();
    volume.lost = true;
    changed_ = true;
    volume.armed.notify();
    volume.ring->close();
    work_.notify();
    if (!stopping_) report(volume, why.text);
    co_await volume.crew.join();
    // A session may be sending from the ring's memory.
    while (volume.named) co_await let_go_.wait();
    volume.ring.reset();
    volume.lost = false;
  }
}

Task<> RingFeed::attach(Volume& volume) {
  while (!stopping_) {
    auto ring = host_.attach(volume.config.uuid);
    if (ring) {
      volume.ring = std::move(*ring);
      volume.ring->report_link(state_);
      volume.reason.clear();
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

std::vector<RingFeed::VolumeStatus> RingFeed::status() const {
  std::vector<VolumeStatus> out;
  for (const auto& volume : volumes_) {
    VolumeStatus s{&volume->config, volume->ring && !volume->lost, volume->reason};
    if (volume->ring) {
      const RingView& view = volume->ring->view();
      s.sectors = volume->ring->sectors();
      s.published = view.published();
      s.received = view.received();
      s.stored = view.stored();
      s.released = view.released();
    }
    out.push_back(std::move(s));
  }
  return out;
}

// ---- a session

std::vector<Hello::Stream> RingFeed::streams() {
  changed_ = false;
  std::vector<Hello::Stream> out;
  for (auto& volume : volumes_) {
    volume->named = volume->ring && !volume->lost;
    if (!volume->named) continue;
    const bool fresh = !volume->ring->started();
    RingView& view = volume->ring->view();
    (void)view.has_records();  // looks at the kernel's count once more
    out.push_back({volume->config.uuid, fresh ? 0 : view.released() + 1,
                   fresh ? 0 : view.published(), fresh});
  }
  return out;
}

Result<void> RingFeed::begin(const Welcome& welcome) {
  for (const Ack& ack : welcome.streams) {
    Volume* volume = in_session(ack.stream);
    if (volume == nullptr)
      return Error{Errc::refused, "the hub answers for a volume that we did not name"};
    Ring& ring = *volume->ring;
    auto ready = ring.started() ? ring.view().rewind_to(ack.received) : ring.start(ack.received);
    if (!ready) {
      report(*volume, ready.error().text);
      return ready.error();
    }
    volume->reason.clear();
  }
  in_session_ = true;
  return acked(welcome.streams);
}

void RingFeed::end() {
  in_session_ = false;
  taken_count_ = 0;
  for (auto& volume : volumes_) volume->named = false;
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
    co_return Answer(Outgoing{batch->records, batch->payload, nullptr});
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
    if (ack.received > volume->ring->view().taken())
      return Error{
          Errc::refused,
          fmt::format("the hub acknowledges write {} of volume {}, which was not sent: the "
                      "last one was {}",
                      ack.received, volume->config.name, volume->ring->view().taken())};
    if (!volume->ring->view().acknowledge(ack.received, ack.stored)) continue;
    if (auto rung = volume->ring->doorbell(); !rung) return rung;
  }
  return {};
}

void RingFeed::link_state(LinkState state) {
  if (state == state_) return;
  state_ = state;
  for (auto& volume : volumes_)
    if (volume->ring && !volume->lost) volume->ring->report_link(state);
}

}  // namespace cascade
