// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/comparison.hpp"

#include "lib/base/limits.hpp"

#include <algorithm>
#include <utility>

namespace cascade {
namespace {

// Before a volume that is suspended, or whose resync is paused, is looked at again.
constexpr std::chrono::milliseconds later_pause{500};

// Beside writers it rests after each read for so many times as long as that took: as the kernel
// does when it copies (kmod/README.md, Resync).
constexpr int rests = 2;
constexpr std::chrono::milliseconds rest_max{200};

}  // namespace

Comparison::Comparison(const Executor& executor, Clock& clock, Ring& ring, const Uuid& volume,
                       Signal& work)
    : clock_(clock),
      ring_(ring),
      volume_(volume),
      work_(work),
      changed_(executor),
      timer_(clock.timer()) {}

/// The session may go on, and bring answers.
void Comparison::stop() {
  stopped_ = true;
  leave_off();
}

void Comparison::begin(std::size_t open_max) {
  end();
  open_max_ = open_max;
  from_ = 0;
  read_all_ = to_copy_ = false;
  wanted_ = true;
}

void Comparison::end() {
  leave_off();
  questions_.clear();
}

void Comparison::leave_off() {
  ++attempt_;
  wanted_ = false;
  questions_.forget();
  open_.clear();
  timer_->cancel();
  changed_.notify();
}

bool Comparison::somebody_writes() {
  const std::uint64_t before = std::exchange(published_, ring_.view().published());
  return published_ != before;
}

Result<void> Comparison::answered(const Sum& sum) {
  auto expected = questions_.answered(std::span(&sum, 1));
  changed_.notify();
  return expected;
}

Task<> Comparison::run() {
  while (!stopped_) {
    if (wanted_) {
      co_await step();
      continue;
    }
    buffer_ = {};
    co_await changed_.wait();
  }
}

Task<> Comparison::step() {
  settle();
  if (!wanted_) co_return;
  if (read_all_ && open_.empty()) {
    finish();
    co_return;
  }
  if (read_all_ || open_.size() >= open_max_)
    co_await changed_.wait();
  else
    co_await read_next();
}

Task<> Comparison::read_next() {
  const unsigned attempt = attempt_;
  const TimePoint began = clock_.now();
  buffer_.resize(limits::record_payload_bytes_max);
  const auto peeked = co_await ring_.peek(from_, buffer_);
  if (attempt != attempt_) co_return;
  if (!peeked) {
    finish();
    co_return;
  }
  if (peeked->found == Peeked::Found::later) {
    co_await timer_->sleep(later_pause);
    co_return;
  }
  note(*peeked);
  const Duration rest = std::min<Duration>(rests * (clock_.now() - began), rest_max);
  if (somebody_writes() && rest > Duration{}) co_await timer_->sleep(rest);
}

void Comparison::note(const Peeked& peeked) {
  if (peeked.found == Peeked::Found::nothing) {
    read_all_ = true;
    return;
  }
  from_ = peeked.next;
  if (peeked.found == Peeked::Found::unreadable) {
    to_copy_ = true;
    return;
  }
  open_.push_back({peeked, content_sum(std::span(buffer_).first(peeked.bytes))});
  questions_.ask({volume_, peeked.sector * CASCADE_SECTOR_BYTES, peeked.bytes});
  work_.notify();
}

/// What has been answered.
void Comparison::settle() {
  while (wanted_) {
    const auto sum = questions_.take();
    if (!sum) break;
    const Region region = open_.front();
    open_.pop_front();
    settle(region, *sum);
  }
  if (wanted_ && to_copy_) let_copy();
}

void Comparison::settle(const Region& region, const Sum& theirs) {
  // Nothing is known of the hub's copy, and nothing will be: all is copied.
  if (!theirs.sum) return finish();
  const bool same = *theirs.sum == region.ours && ring_.same(region.at);
  if (same)
    same_bytes_ += region.at.bytes;
  else
    to_copy_ = true;
}

/// What lies before the first region that is not compared yet.
void Comparison::let_copy() {
  const std::uint64_t until = open_.empty() ? from_ : open_.front().at.sector;
  // A ring that is lost says so elsewhere.
  if (until > 0) (void)ring_.resync(true, until);
  to_copy_ = false;
}

/// The kernel copies what is left.
void Comparison::finish() {
  leave_off();
  (void)ring_.resync(true, Ring::no_limit);
}

}  // namespace cascade
