// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/ring/ring_view.hpp"

#include "lib/base/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace cascade {
namespace {

// The only ways in which shared words are touched; each names its pair on the kernel's side.

/// Pairs with the kernel's smp_store_release() of the same word.
std::uint64_t load_acquire(const __u64& word) {
  return std::atomic_ref(const_cast<__u64&>(word)).load(std::memory_order_acquire);
}

std::uint32_t load_relaxed(const std::uint32_t& word) {
  return std::atomic_ref(const_cast<std::uint32_t&>(word)).load(std::memory_order_relaxed);
}

std::uint64_t load_relaxed(const __u64& word) {
  return std::atomic_ref(const_cast<__u64&>(word)).load(std::memory_order_relaxed);
}

/// Pairs with the kernel's smp_load_acquire() of the same word.
void store_release(__u64& word, std::uint64_t value) {
  std::atomic_ref(word).store(value, std::memory_order_release);
}

void store_relaxed(std::uint32_t& word, std::uint32_t value) {
  std::atomic_ref(word).store(value, std::memory_order_relaxed);
}

/// Pairs with the kernel's smp_mb() between its store and its look at our word.
void full_barrier() { std::atomic_thread_fence(std::memory_order_seq_cst); }

Error broken(std::string what) {
  return Error{Errc::corrupt, "ring: " + std::move(what) + "; the module and this daemon disagree"};
}

}  // namespace

RingView::RingView(const RingMemory& memory) : memory_(memory) {
  received_ = load_acquire(memory_.daemon->received);
  stored_ = load_acquire(memory_.daemon->stored);
  taken_ = published_ = load_acquire(memory_.kernel->released);
  refresh();
}

/// Takes the kernel's word over if it keeps the rules. Whether there is something to read.
bool RingView::refresh() {
  const std::uint64_t published = load_acquire(memory_.kernel->published);
  if (published < published_ || published >= CASCADE_SEQ_MAX ||
      published - std::min(published, load_acquire(memory_.kernel->released)) > memory_.slots)
    broken_ = true;
  else
    published_ = published;
  return broken_ || published_ > taken_;
}

std::uint64_t RingView::released() const { return load_acquire(memory_.kernel->released); }

std::uint32_t RingView::differs() const { return load_relaxed(memory_.kernel->differs); }

std::uint64_t RingView::sectors() const { return load_acquire(memory_.kernel->sectors); }

std::uint64_t RingView::local_errors() const { return load_acquire(memory_.kernel->local_errors); }

std::uint64_t RingView::out_of_sync() const { return load_acquire(memory_.kernel->out_of_sync); }

std::uint32_t RingView::fence() const { return load_acquire(memory_.kernel->fence); }

bool RingView::clean() const { return load_acquire(memory_.kernel->clean) != 0; }

std::uint64_t RingView::alone_ns() const { return load_acquire(memory_.kernel->alone_ns); }

std::uint32_t RingView::let_go() const { return load_acquire(memory_.kernel->let_go); }

std::uint64_t RingView::resynced() const { return load_acquire(memory_.kernel->resynced); }

bool RingView::has_records() { return refresh(); }

Result<void> RingView::rewind_to(std::uint64_t volume_seq) {
  // A ring that was just numbered begins behind everything that was published before: nothing.
  if (published_ == 0) published_ = load_acquire(memory_.kernel->published);
  // START sets the words to its base; going back from there would detach us.
  received_ = std::max<std::uint64_t>(received_, load_acquire(memory_.daemon->received));
  stored_ = std::max<std::uint64_t>(stored_, load_acquire(memory_.daemon->stored));
  refresh();
  const std::uint64_t first = released();
  if (volume_seq < first || volume_seq > published_)
    return Error{Errc::refused,
                 fmt::format("the hub wants to go on after write {}, but the ring holds {} to {}; "
                             "the hub's journal and this volume have different histories",
                             volume_seq, first + 1, published_)};
  taken_ = volume_seq;
  store_release(memory_.daemon->consumed, taken_);
  return {};
}

Result<void> RingView::check(const Record& record, std::uint64_t seq,
                             std::uint64_t payload_pos) const {
  if (auto ok = check_record(record); !ok) return broken(ok.error().text);
  if (volume_seq_of(record) != seq)
    return broken(fmt::format("a slot holds write {}, wanted {}", volume_seq_of(record), seq));
  if (volume_known_ && std::memcmp(record.volume, volume_.data, CASCADE_UUID_BYTES) != 0)
    return broken(fmt::format("write {} is of another volume", seq));
  if (payload_pos % CASCADE_SECTOR_BYTES != 0 || payload_bytes_of(record) > memory_.payload_bytes)
    return broken(fmt::format("the payload of write {} is out of place", seq));
  return {};
}

Result<RingView::Batch> RingView::peek(std::size_t records_max, std::size_t payload_max) {
  refresh();
  if (broken_) return broken("the count of published records went wrong");
  const std::uint64_t first = taken_ + 1;
  const std::uint64_t slot = first & (memory_.slots - 1);
  const std::size_t to_wrap = memory_.slots - slot;
  const std::size_t there = std::min<std::uint64_t>(published_ - taken_, to_wrap);
  payload_max = std::min<std::size_t>(payload_max, memory_.payload_bytes);

  std::size_t count = 0, bytes = 0;
  const std::uint64_t start = there > 0 ? memory_.payload_pos[slot] : 0;
  while (count < std::min(there, records_max)) {
    const Record& record = memory_.records[slot + count];
    const std::uint64_t pos = memory_.payload_pos[slot + count];
    if (auto ok = check(record, first + count, pos); !ok) return ok.error();
    // Behind a NOOP there may be a gap.
    if (pos > start + bytes && count > 0 && memory_.records[slot + count - 1].op == CASCADE_OP_NOOP)
      break;
    if (pos != start + bytes)
      return broken(
          fmt::format("the payload of write {} does not follow its predecessor's", first + count));
    if (bytes + payload_bytes_of(record) > payload_max) break;
    bytes += payload_bytes_of(record);
    ++count;
  }
  if (count > 0 && !volume_known_) {
    volume_ = volume_of(memory_.records[slot]);
    volume_known_ = true;
  }
  return Batch{{memory_.records + slot, count},
               {memory_.payload + (start & (memory_.payload_bytes - 1)), bytes}};
}

void RingView::take(std::size_t records) {
  taken_ += records;
  store_release(memory_.daemon->consumed, taken_);
}

bool RingView::acknowledge(std::uint64_t received, std::uint64_t stored) {
  received_ = std::max(received_, std::min(received, taken_));
  stored_ = std::max(stored_, std::min(stored, received_));
  // In this order: the kernel checks stored <= received, and reads them the other way round.
  store_release(memory_.daemon->received, received_);
  store_release(memory_.daemon->stored, stored_);
  full_barrier();
  return received_ >= load_relaxed(memory_.kernel->ring_received) ||
         stored_ >= load_relaxed(memory_.kernel->ring_stored);
}

bool RingView::prepare_to_sleep() {
  if (++sleeps_ == 0) ++sleeps_;
  store_relaxed(memory_.daemon->waiting, sleeps_);
  full_barrier();
  return !refresh();
}

void RingView::woken() { store_relaxed(memory_.daemon->waiting, 0); }

}  // namespace cascade
