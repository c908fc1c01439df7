// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's side of one volume's ring (kmod/uapi/dm_cascade.h, section 2) over mapped memory:
// what is there to read, in place; what has been acknowledged; when to sleep and when to ring.
// Knows nothing of how the memory was mapped, so the character device, the user-space double and
// the fuzzer share it. It takes no word of the other side on trust either: a count that goes back
// or a payload outside the area is an error, never an index.
// One thread. No system calls. Does not own the memory.
#pragma once

#include "lib/base/result.hpp"
#include "lib/format/record.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace cascade {

/// Mapped parts of a ring. `payload` is mapped twice, back to back (2 * payload_bytes), so that
/// no record's payload ever wraps.
struct RingMemory {
  const cascade_kernel_words* kernel = nullptr;
  cascade_daemon_words* daemon = nullptr;
  const std::uint64_t* payload_pos = nullptr;
  const Record* records = nullptr;
  const std::byte* payload = nullptr;
  std::uint64_t slots = 0;          // a power of two
  std::uint64_t payload_bytes = 0;  // a power of two
};

class RingView {
 public:
  /// Consecutive records and their payloads, in place; contiguous both. Stable until acknowledged
  /// as stored.
  struct Batch {
    std::span<const Record> records;
    std::span<const std::byte> payload;
  };

  explicit RingView(const RingMemory& memory);

  /// Go on after `volume_seq`: what is through it will not be read again. For a new session, which
  /// may go back as far as `released`. Errc::refused if outside [released, published].
  Result<void> rewind_to(std::uint64_t volume_seq);

  /// The next records after the last take(): at most `records_max` and `payload_max` bytes, ending
  /// early where the records wrap. Empty when there are none. Errc::corrupt if the ring breaks a
  /// rule of its layout (record checksum included; payload checksums are the receiver's to check).
  Result<Batch> peek(std::size_t records_max, std::size_t payload_max);

  /// The first `records` of the last peek() have been sent; moves the word `consumed`.
  void take(std::size_t records);

  /// Publish how far the hub is. Each must not go back, stored <= received <= taken; larger
  /// values are cut to what was taken, since a peer's number is not to be trusted either.
  /// Returns whether the kernel wants a doorbell for that.
  bool acknowledge(std::uint64_t received, std::uint64_t stored);

  /// Before sleeping: says so and looks once more. False: there is work, do not sleep.
  bool prepare_to_sleep();
  /// After sleeping, or when prepare_to_sleep() said no.
  void woken();

  std::uint64_t published() const { return published_; }  // checked copy, as of the last look
  std::uint64_t released() const;                         // the kernel's word now
  std::uint64_t taken() const { return taken_; }          // last volume_seq taken
  std::uint64_t received() const { return received_; }    // last acknowledged
  std::uint64_t stored() const { return stored_; }
  /// CASCADE_DIFFERS_*: why the volume and the hub's copy may differ; the kernel's word now.
  std::uint32_t differs() const;
  std::uint64_t local_errors() const;  // likewise
  std::uint64_t out_of_sync() const;   // likewise: sectors that have to be copied to the hub
  std::uint64_t resynced() const;      // likewise: bytes of it read since the ring began
  std::uint32_t fence() const;         // likewise: cascade_fence; zero: not known
  bool clean() const;                  // likewise: suspended in order, everything is at the hub
  std::uint64_t alone_ns() const;      // likewise: since when it goes on alone; zero: it does not
  std::uint32_t let_go() const;        // likewise: cascade_let_go: why the last daemon was
  std::uint64_t sectors() const;       // likewise: size of the volume; zero: not known
  bool has_records();                  // published past taken; reads the kernel's word

 private:
  bool refresh();
  Result<void> check(const Record& record, std::uint64_t seq, std::uint64_t payload_pos) const;

  RingMemory memory_;
  Uuid volume_{};
  bool volume_known_ = false;
  bool broken_ = false;  // the kernel's word broke a rule; said by the next peek()
  std::uint64_t published_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t stored_ = 0;
  std::uint32_t sleeps_ = 0;  // which one this is; never 0
};

}  // namespace cascade
