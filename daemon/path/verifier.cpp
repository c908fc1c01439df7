// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/verifier.hpp"

#include "lib/base/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cascade {
namespace {

// Writers to a range wait while it is read: a short one beside them.
constexpr std::uint32_t range_bytes = limits::record_payload_bytes_max;
constexpr std::uint32_t range_bytes_beside_writers = 64 * 1024;

// Ranges that the hub's copy has not come to yet. The hub says at least ten times a second how far
// it is, so this is no limit below 300 MB/s, and 32 MiB that its writes have to wait for at most.
constexpr std::size_t ahead_max = 128;

// Before a volume that is suspended, or a ring that is full, is tried again.
constexpr std::chrono::milliseconds retry_pause{100};

// As a resync does beside writers (comparison.cpp).
constexpr int rest_times = 2;
constexpr std::chrono::milliseconds rest_longest{200};

/// What two runs of a node's daemon have found.
Verified together(Verified found, const Verified& more) {
  found.compared += more.compared;
  found.skipped += more.skipped;
  found.differing += more.differing;
  found.ranges.insert(found.ranges.end(), more.ranges.begin(), more.ranges.end());
  return found;
}

}  // namespace

Verifier::Verifier(const Executor& executor, Clock& clock, Ring& ring)
    : clock_(clock), ring_(ring), changed_(executor), timer_(clock.timer()) {}

void Verifier::stop() {
  stopped_ = true;
  timer_->cancel();
  changed_.notify();
}

/// A hub that has begun anew will not say how far it was.
void Verifier::session(bool compares) {
  compares_ = compares && ring_.can_verify();
  ahead_.clear();
  changed_.notify();
}

std::uint64_t Verifier::volume_bytes() const {
  const std::uint64_t now = ring_.view().sectors();
  return (now == 0 ? ring_.shape().sectors : now) * CASCADE_SECTOR_BYTES;
}

Result<void> Verifier::begin(const Order& order) {
  if (!ring_.can_verify())
    return Error{Errc::refused,
                 "the loaded module can't compare; load the one that came with this daemon"};
  if (status_.state == State::running)
    return Error{Errc::refused, "it is being compared; 'dmcascade verify --stop' ends that"};
  const std::uint32_t block = ring_.shape().block;
  if (order.from >= volume_bytes() || order.from % block != 0)
    return Error{Errc::invalid,
                 fmt::format("byte {} is not the beginning of one of its blocks of {}: it has {} "
                             "bytes",
                             order.from, block, volume_bytes())};
  ++attempt_;
  order_ = order;
  status_ = {State::running, clock_.realtime_ns(), order.from, order.from};
  first_seq_ = last_seq_ = 0;
  found_.clear();
  before_.clear();
  changed_.notify();
  return {};
}

Result<void> Verifier::end() {
  if (status_.state != State::running) return Error{Errc::refused, "it is not being compared"};
  status_.state = State::stopped;
  timer_->cancel();
  changed_.notify();
  return {};
}

void Verifier::learn(const Verified& found) {
  if (!order_.nodes.empty() && found.node == order_.nodes.front())
    while (!ahead_.empty() && ahead_.front() <= found.through) ahead_.pop_front();
  // What one found before counts for nothing now.
  if (first_seq_ != 0 && found.through >= first_seq_) {
    Verified& known = found_[found.node];
    Verified& before = before_[found.node];
    if (known.run != found.run) before = together(std::move(before), known);
    known = found;
  }
  changed_.notify();
}

bool Verifier::all_have_compared() const {
  return std::all_of(order_.nodes.begin(), order_.nodes.end(), [&](const std::string& node) {
    const auto found = found_.find(node);
    return found != found_.end() && found->second.through >= last_seq_;
  });
}

Verifier::Status Verifier::status() const {
  Status status = status_;
  for (const auto& [node, found] : found_)
    status.found.push_back(together(found, before_.at(node)));
  if (status.state == State::done && last_seq_ != 0 && !all_have_compared())
    status.state = State::waiting;
  return status;
}

// ---- going through it

bool Verifier::may_step() const {
  return status_.state == State::running && compares_ && ahead_.size() < ahead_max;
}

Task<> Verifier::run() {
  while (!stopped_) {
    if (may_step())
      co_await step();
    else
      co_await changed_.wait();
  }
}

Task<> Verifier::step() {
  const std::uint64_t left = volume_bytes() - std::min(status_.next, volume_bytes());
  if (left == 0) {
    status_.state = State::done;
    co_return;
  }
  const bool writers = somebody_writes();
  const std::uint64_t most = writers ? range_bytes_beside_writers : range_bytes;
  const auto bytes = static_cast<std::uint32_t>(std::min(left, most));
  const TimePoint began = clock_.now();
  const unsigned attempt = attempt_;
  const auto verifying = co_await ring_.verify(status_.next / CASCADE_SECTOR_BYTES, bytes);
  if (attempt != attempt_ || stopped_) co_return;
  if (!verifying) {
    // A ring that is lost says so elsewhere.
    status_.state = State::stopped;
    co_return;
  }
  if (verifying->step == Verifying::Step::later) {
    co_await timer_->sleep(retry_pause);
    co_return;
  }
  note(*verifying, bytes);
  const Duration pause = pause_after(clock_.now() - began, bytes, writers);
  if (pause > Duration{}) co_await timer_->sleep(pause);
}

void Verifier::note(const Verifying& verifying, std::uint32_t bytes) {
  status_.next += bytes;
  if (verifying.step == Verifying::Step::out_of_sync) status_.out_of_sync += bytes;
  if (verifying.step == Verifying::Step::unreadable) status_.unreadable += bytes;
  if (verifying.step != Verifying::Step::sent) return;
  ++sent_;
  ahead_.push_back(verifying.seq);
  last_seq_ = verifying.seq;
  if (first_seq_ == 0) first_seq_ = verifying.seq;
}

Duration Verifier::pause_after(Duration took, std::uint32_t bytes, bool writers) const {
  const Duration pause = writers ? std::min<Duration>(rest_times * took, rest_longest) : Duration{};
  if (order_.rate == 0) return pause;
  const std::chrono::duration<double> whole(static_cast<double>(bytes) /
                                            static_cast<double>(order_.rate));
  return std::max(pause, std::chrono::duration_cast<Duration>(whole) - took);
}

/// More has come to the ring since the last look than what was put there from here.
bool Verifier::somebody_writes() {
  (void)ring_.view().has_records();  // looks at the kernel's count once more
  const std::uint64_t published = ring_.view().published();
  const std::uint64_t came = published - std::exchange(published_, published);
  return came > std::exchange(sent_, 0);
}

}  // namespace cascade
