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

/// A copy after its repair, which has left out `left`: `again` is what it said when the ranges were
/// compared once more. What could not be compared is not known to be repaired.
Verifier::Status::Copy repaired(Verifier::Status::Copy copy, const Ranges& left,
                                const Verified& again) {
  const Ranges still = common(united(copy.found.ranges), left);
  const std::uint64_t written = bytes_of(copy.found.ranges) - bytes_of(still);
  copy.repaired = written - std::min(written, again.differing + again.skipped);
  copy.found.differing -= copy.repaired;
  if (again.skipped > 0) return copy;
  copy.found.ranges = again.ranges;
  copy.found.ranges.insert(copy.found.ranges.end(), still.begin(), still.end());
  copy.found.ranges = united(copy.found.ranges);
  return copy;
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

std::uint64_t Verifier::volume_bytes() const { return ring_.sectors() * CASCADE_SECTOR_BYTES; }

Result<void> Verifier::begin(const Order& order) {
  if (!ring_.can_verify())
    return Error{Errc::refused,
                 "the loaded module can't compare; load the one that came with this daemon"};
  if (goes_on())
    return Error{Errc::refused, "it is being compared; 'dmcascade verify VOLUME --stop' ends that"};
  const std::uint32_t block = ring_.shape().block;
  if (order.from >= volume_bytes() || order.from % block != 0)
    return Error{Errc::invalid,
                 fmt::format("byte {} is not the beginning of one of its blocks of {}: it has {} "
                             "bytes",
                             order.from, block, volume_bytes())};
  ++attempt_;
  order_ = order;
  status_ = {State::running, clock_.realtime_ns(), order.from, order.from};
  compared_.clear();
  differ_.clear();
  begin_pass();
  changed_.notify();
  return {};
}

void Verifier::begin_pass() {
  first_seq_ = last_seq_ = 0;
  found_.clear();
  before_.clear();
}

Result<void> Verifier::end() {
  if (!goes_on() && status().state != State::waiting)
    return Error{Errc::refused, "it is not being compared"};
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
  if (last_seq_ == 0) return true;
  return std::all_of(order_.nodes.begin(), order_.nodes.end(), [&](const std::string& node) {
    const auto found = found_.find(node);
    return found != found_.end() && found->second.through >= last_seq_;
  });
}

/// In this pass.
Verified Verifier::said(const std::string& node) const {
  const auto found = found_.find(node);
  return found == found_.end() ? Verified{} : together(found->second, before_.at(node));
}

/// A repair counts once it is over, as what was stopped may have repaired nothing.
Verifier::Copies Verifier::copies() const {
  Copies out = compared_;
  if (out.empty())
    for (const auto& [node, found] : found_) out[node] = {said(node)};
  else if (status_.state == State::done && last_seq_ != 0 && all_have_compared())
    for (auto& [node, copy] : out) copy = repaired(copy, left_out_, said(node));
  return out;
}

/// What differs on all copies, if there are several.
Ranges Verifier::doubtful(const Copies& copies) const {
  if (order_.nodes.size() < 2 || copies.size() < order_.nodes.size()) return {};
  Ranges out = united(copies.begin()->second.found.ranges);
  for (const auto& [node, copy] : copies) out = common(out, united(copy.found.ranges));
  return out;
}

Verifier::Status Verifier::status() const {
  Status status = status_;
  const Copies copies = this->copies();
  status.doubtful = bytes_of(doubtful(copies));
  for (const auto& [node, copy] : copies) status.copies.push_back(copy);
  if (status.state == State::done && (!all_have_compared() || may_repair()))
    status.state = State::waiting;
  return status;
}

// ---- going through it

bool Verifier::goes_on() const {
  return status_.state == State::running || status_.state == State::repairing;
}

bool Verifier::may_step() const { return goes_on() && compares_ && ahead_.size() < ahead_max; }

/// All copies have said what differs, and some do.
bool Verifier::may_repair() const {
  if (!order_.repair || !compared_.empty() || status_.state != State::done) return false;
  return all_have_compared() && std::any_of(found_.begin(), found_.end(), [&](const auto& found) {
           return !said(found.first).ranges.empty();
         });
}

Task<> Verifier::run() {
  while (!stopped_) {
    if (may_repair()) begin_repair();
    if (may_step())
      co_await step();
    else
      co_await changed_.wait();
  }
}

void Verifier::begin_repair() {
  compared_ = copies();
  left_out_ = order_.sure ? Ranges{} : doubtful(compared_);
  Ranges ranges;
  for (const auto& [node, copy] : compared_)
    ranges.insert(ranges.end(), copy.found.ranges.begin(), copy.found.ranges.end());
  ranges = without(united(std::move(ranges)), left_out_);
  differ_.assign(ranges.begin(), ranges.end());
  status_.state = State::repairing;
  begin_pass();
}

/// Bytes, from where it goes on.
std::uint64_t Verifier::left() const {
  if (status_.state == State::repairing) return differ_.empty() ? 0 : differ_.front().bytes;
  return volume_bytes() - std::min(status_.next, volume_bytes());
}

Task<> Verifier::step() {
  const std::uint64_t left = this->left();
  if (left == 0) {
    status_.state = State::done;
    co_return;
  }
  const bool writers = somebody_writes();
  const std::uint64_t most = writers ? range_bytes_beside_writers : range_bytes;
  const auto bytes = static_cast<std::uint32_t>(std::min(left, most));
  const TimePoint began = clock_.now();
  const bool repairs = status_.state == State::repairing;
  const bool sent = co_await send(repairs ? differ_.front().begin : status_.next, bytes);
  if (!sent) co_return;
  const std::uint32_t read = repairs ? 2 * bytes : bytes;
  const Duration pause = pause_after(clock_.now() - began, read, writers);
  if (pause > Duration{}) co_await timer_->sleep(pause);
}

/// False if it has to be tried again, or is over.
Task<bool> Verifier::send(std::uint64_t at, std::uint32_t bytes) {
  const bool repairs = status_.state == State::repairing;
  if (repairs) {
    const auto content = co_await ask(at, bytes, true);
    if (!content) co_return false;
    if (content->step == Verifying::Step::sent) ++sent_;
  }
  const auto sum = co_await ask(at, bytes, false);
  if (!sum) co_return false;
  note(*sum, bytes);
  if (repairs) {
    Verified::Range& range = differ_.front();
    range.begin += bytes;
    range.bytes -= bytes;
    if (range.bytes == 0) differ_.pop_front();
  } else {
    status_.next += bytes;
  }
  co_return true;
}

/// What has become of it; nothing: it has to be tried again, or is over.
Task<std::optional<Verifying>> Verifier::ask(std::uint64_t at, std::uint32_t bytes, bool content) {
  const unsigned attempt = attempt_;
  const State state = status_.state;
  const auto verifying = co_await ring_.verify(at / CASCADE_SECTOR_BYTES, bytes, content);
  if (attempt != attempt_ || state != status_.state || stopped_) co_return std::nullopt;
  if (!verifying) {
    // A ring that is lost says so elsewhere.
    status_.state = State::stopped;
    co_return std::nullopt;
  }
  if (verifying->step == Verifying::Step::later) {
    co_await timer_->sleep(retry_pause);
    co_return std::nullopt;
  }
  co_return *verifying;
}

void Verifier::note(const Verifying& verifying, std::uint32_t bytes) {
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
