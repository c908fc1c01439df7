// SPDX-License-Identifier: GPL-2.0-or-later
//
// A user-space double of the kernel's side of one ring (kmod/ring.c), over memfd: the same memory,
// the same checks of the daemon's words, the same wake-up protocol. For speed tests, sanitizers and
// simulation; it never replaces the kernel path. Any number of writer threads, one daemon.
#pragma once

#include "lib/ring/ring_view.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

namespace cascade::test {

class RingDouble {
 public:
  /// Both powers of two; `payload_bytes` a multiple of the page size.
  RingDouble(const Uuid& volume, std::uint64_t slots, std::uint64_t payload_bytes);
  ~RingDouble();
  RingDouble(const RingDouble&) = delete;
  RingDouble& operator=(const RingDouble&) = delete;

  // ---- the daemon's side of the character device

  /// A fresh page of daemon words, set up with what the kernel knows.
  RingMemory attach();
  void start(std::uint64_t base_seq);
  /// False once the daemon has been detached.
  bool doorbell();
  /// Like poll(): waits for records past `consumed`; false on time-out.
  bool wait_readable(std::chrono::milliseconds time_max);
  bool revoked() const;
  /// `wake` is called, on the writer's thread, when whoever polls is woken.
  void wake_with(std::function<void()> wake);

  // ---- the application's side

  /// Waits for room; returns the write's number. `payload` is whole sectors.
  std::uint64_t write(std::uint64_t sector, std::span<const std::byte> payload,
                      std::uint8_t op = CASCADE_OP_WRITE, std::uint8_t flags = 0);
  /// A VERIFY of what the volume holds there: `content`.
  std::uint64_t write_sum(std::uint64_t sector, std::span<const std::byte> content);
  /// Waits until the daemon says that the write is stored; false on time-out.
  bool wait_stored(std::uint64_t seq, std::chrono::milliseconds time_max);

  bool started() const;
  std::uint64_t published() const;
  std::uint64_t received() const;
  std::uint64_t stored() const;
  std::uint64_t wakeups() const;

  /// The kernel's words and records, for tests that play a broken kernel.
  cascade_kernel_words& kernel_words() { return *kernel_; }
  Record& record(std::uint64_t seq) { return records_[seq & (slots_ - 1)]; }
  std::uint64_t& payload_pos(std::uint64_t seq) { return payload_pos_[seq & (slots_ - 1)]; }

 private:
  bool has_room(std::size_t bytes) const;
  void put_record(std::uint64_t seq, std::uint64_t sector, std::span<const std::byte> content,
                  std::uint8_t op, std::uint8_t flags);
  void publish();
  void advance();
  bool ask_for_doorbell();
  void take_words();
  void release();

  Uuid volume_;
  std::uint64_t slots_, payload_bytes_;
  void* payload_map_ = nullptr;
  std::byte* payload_ = nullptr;
  cascade_kernel_words* kernel_ = nullptr;
  std::unique_ptr<cascade_kernel_words> kernel_owner_;
  std::vector<std::unique_ptr<cascade_daemon_words>> daemon_pages_;
  cascade_daemon_words* daemon_ = nullptr;
  std::vector<std::uint64_t> payload_pos_, payload_end_;
  std::vector<Record> records_;

  mutable std::mutex mutex_;  // the kernel's volume->lock
  std::condition_variable changed_;
  std::condition_variable poll_;
  bool started_ = false;
  bool revoked_ = false;
  unsigned room_waiters_ = 0;                // who wants a doorbell: for any progress,
  std::multiset<std::uint64_t> waited_for_;  // and for these numbers being stored
  std::uint64_t published_ = 0, received_ = 0, stored_ = 0, released_ = 0;
  std::uint64_t payload_head_ = 0, payload_tail_ = 0;
  std::uint64_t wakeups_ = 0;
  std::function<void()> wake_;
};

}  // namespace cascade::test
