// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/double/ring_double.hpp"

#include "lib/base/checksum.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace cascade::test {
namespace {

template <class Word>
Word load(const Word& word, std::memory_order order = std::memory_order_acquire) {
  return std::atomic_ref(const_cast<Word&>(word)).load(order);
}

template <class Word, class Value>
void store(Word& word, Value value, std::memory_order order = std::memory_order_release) {
  std::atomic_ref(word).store(static_cast<Word>(value), order);
}

void full_barrier() { std::atomic_thread_fence(std::memory_order_seq_cst); }

/// The same pages twice, back to back.
void* map_twice(std::size_t bytes) {
  const int fd = ::memfd_create("ring-payload", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) < 0) throw std::runtime_error("memfd");
  auto* room = static_cast<std::byte*>(
      ::mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (std::size_t i = 0; i < 2; ++i)
    if (::mmap(room + i * bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
        MAP_FAILED)
      throw std::runtime_error("mmap");
  ::close(fd);
  return room;
}

}  // namespace

RingDouble::RingDouble(const Uuid& volume, std::uint64_t slots, std::uint64_t payload_bytes)
    : volume_(volume),
      slots_(slots),
      payload_bytes_(payload_bytes),
      payload_map_(map_twice(payload_bytes)),
      payload_(static_cast<std::byte*>(payload_map_)),
      kernel_owner_(std::make_unique<cascade_kernel_words>()),
      payload_pos_(slots),
      payload_end_(slots),
      records_(slots) {
  kernel_ = kernel_owner_.get();
  kernel_->ring_received = kernel_->ring_stored = CASCADE_RING_NEVER;
}

RingDouble::~RingDouble() { ::munmap(payload_map_, 2 * payload_bytes_); }

// ---- the character device

RingMemory RingDouble::attach() {
  const std::lock_guard lock(mutex_);
  daemon_pages_.push_back(std::make_unique<cascade_daemon_words>());
  daemon_ = daemon_pages_.back().get();
  daemon_->received = received_;
  daemon_->stored = stored_;
  daemon_->consumed = stored_;
  revoked_ = false;
  return RingMemory{kernel_,  daemon_, payload_pos_.data(), records_.data(),
                    payload_, slots_,  payload_bytes_};
}

void RingDouble::start(std::uint64_t base_seq) {
  const std::lock_guard lock(mutex_);
  published_ = received_ = stored_ = released_ = base_seq;
  daemon_->received = daemon_->stored = daemon_->consumed = base_seq;
  store(kernel_->released, base_seq);
  store(kernel_->published, base_seq);
  started_ = true;
  changed_.notify_all();
}

bool RingDouble::doorbell() {
  const std::lock_guard lock(mutex_);
  if (daemon_ != nullptr) advance();
  return !revoked_;
}

bool RingDouble::wait_readable(std::chrono::milliseconds time_max) {
  std::unique_lock lock(mutex_);
  return poll_.wait_for(lock, time_max, [this] {
    return revoked_ || published_ > load(daemon_->consumed, std::memory_order_relaxed);
  });
}

bool RingDouble::revoked() const {
  const std::lock_guard lock(mutex_);
  return revoked_;
}

void RingDouble::wake_with(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

// ---- writes

bool RingDouble::has_room(std::size_t bytes) const {
  return started_ && published_ - released_ < slots_ &&
         payload_head_ + bytes - payload_tail_ <= payload_bytes_;
}

std::uint64_t RingDouble::write(std::uint64_t sector, std::span<const std::byte> payload,
                                std::uint8_t op, std::uint8_t flags) {
  std::unique_lock lock(mutex_);
  ++room_waiters_;
  while (!has_room(payload.size())) {
    advance();
    if (has_room(payload.size())) break;
    changed_.wait(lock);
  }
  --room_waiters_;
  const std::uint64_t seq = published_ + 1, slot = seq & (slots_ - 1);
  std::byte* at = payload_ + (payload_head_ & (payload_bytes_ - 1));
  if (!payload.empty()) std::memcpy(at, payload.data(), payload.size());
  payload_pos_[slot] = payload_head_;
  payload_head_ += payload.size();
  payload_end_[slot] = payload_head_;
  put_record(seq, sector, payload, op, flags);
  return seq;
}

std::uint64_t RingDouble::write_sum(std::uint64_t sector, std::span<const std::byte> content) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t seq = published_ + 1, slot = seq & (slots_ - 1);
  payload_pos_[slot] = payload_end_[slot] = payload_head_;
  put_record(seq, sector, content, CASCADE_OP_VERIFY, 0);
  return seq;
}

void RingDouble::put_record(std::uint64_t seq, std::uint64_t sector,
                            std::span<const std::byte> content, std::uint8_t op,
                            std::uint8_t flags) {
  Record r{};
  r.version = CASCADE_RECORD_VERSION;
  r.op = op;
  r.flags = flags;
  std::memcpy(r.volume, volume_.data, sizeof r.volume);
  r.sector = htole64(sector);
  r.length = htole32(static_cast<std::uint32_t>(content.size()));
  r.volume_seq = htole64(seq);
  if (op == CASCADE_OP_VERIFY) r.primary_time_ns = htole64(seq);
  if (!content.empty()) r.payload_crc = htole32(crc32c(content));
  seal(r);
  records_[seq & (slots_ - 1)] = r;
  publish();
}

void RingDouble::publish() {
  store(kernel_->published, ++published_);
  full_barrier();
  if (daemon_ == nullptr || load(daemon_->waiting, std::memory_order_relaxed) == 0) return;
  ++wakeups_;
  poll_.notify_all();
  if (wake_) wake_();
}

bool RingDouble::wait_stored(std::uint64_t seq, std::chrono::milliseconds time_max) {
  std::unique_lock lock(mutex_);
  const auto deadline = std::chrono::steady_clock::now() + time_max;
  const auto waited = waited_for_.insert(seq);
  advance();
  bool in_time = true;
  while (stored_ < seq && in_time)
    in_time = changed_.wait_until(lock, deadline) == std::cv_status::no_timeout;
  waited_for_.erase(waited);
  return stored_ >= seq;
}

// ---- acknowledgements, as kmod/ring.c takes them

void RingDouble::take_words() {
  if (daemon_ == nullptr || revoked_ || !started_) return;
  const std::uint64_t stored = load(daemon_->stored);
  const std::uint64_t received = load(daemon_->received);
  if (stored < stored_ || received < received_ || stored > received || received > published_) {
    revoked_ = true;
    daemon_ = nullptr;
    poll_.notify_all();
    return;
  }
  received_ = received;
  stored_ = stored;
  release();
}

void RingDouble::release() {
  if (released_ < stored_) {
    released_ = stored_;
    payload_tail_ = payload_end_[released_ & (slots_ - 1)];
    store(kernel_->released, released_);
  }
  changed_.notify_all();
}

void RingDouble::advance() {
  do take_words();
  while (ask_for_doorbell());
}

bool RingDouble::ask_for_doorbell() {
  std::uint64_t at = room_waiters_ > 0 ? stored_ + 1 : CASCADE_RING_NEVER;
  if (const auto first = waited_for_.upper_bound(stored_); first != waited_for_.end())
    at = std::min(at, *first);
  if (load(kernel_->ring_stored, std::memory_order_relaxed) == at) return false;
  store(kernel_->ring_stored, at, std::memory_order_relaxed);
  full_barrier();
  return true;
}

bool RingDouble::started() const {
  const std::lock_guard lock(mutex_);
  return started_;
}

std::uint64_t RingDouble::published() const {
  const std::lock_guard lock(mutex_);
  return published_;
}

std::uint64_t RingDouble::received() const {
  const std::lock_guard lock(mutex_);
  return received_;
}

std::uint64_t RingDouble::stored() const {
  const std::lock_guard lock(mutex_);
  return stored_;
}

std::uint64_t RingDouble::wakeups() const {
  const std::lock_guard lock(mutex_);
  return wakeups_;
}

}  // namespace cascade::test
