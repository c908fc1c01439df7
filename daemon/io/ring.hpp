// SPDX-License-Identifier: GPL-2.0-or-later
//
// Seam: the ring of one volume, attached. RingView (lib/ring) is the memory; this is the rest.
#pragma once

#include "daemon/io/clock.hpp"
#include "kmod/uapi/dm_cascade_meta.h"
#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"
#include "lib/ring/ring_view.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace cascade {

enum class LinkState { down, connecting, up };

/// What a ring says of itself and of its volume.
struct RingShape {
  std::uint64_t sectors = 0;  // of the volume, 512 bytes each
  std::uint32_t block = 0;    // logical block in bytes
  std::uint8_t hub_ack = 0;   // cascade_hub_ack
  Uuid incarnation{};         // of the ring; another one is another ring
  // What the volume's metadata area said before this ring began.
  Uuid generation{};          // which history of the volume
  Uuid parent{};              // generation before that one; nil: none
  Uuid journal{};             // of the hub that it was last with; nil: with none yet
  bool clean = false;         // the ring before ended in order
  bool numbered = false;      // there was one that wrote with a hub
  std::uint64_t end_seq = 0;  // its last write if it ended in order; else at least this
};

/// A region that is out of sync, read from the volume's disk.
struct Peeked {
  enum class Found {
    region,
    unreadable,  // one that the disk does not give; the kernel's log says why
    nothing,     // from there on all is in sync
    later,       // the volume is suspended, or its resync paused
  };
  Found found = Found::nothing;
  std::uint64_t sector = 0;
  std::uint64_t next = 0;  // sector to go on from
  std::uint32_t bytes = 0;
  std::uint32_t doubts = 0;  // the module's, for same()
};

/// What has become of a range that was to be compared, or repaired.
struct Verifying {
  enum class Step {
    sent,         // its checksum, or its content, stands in the ring
    out_of_sync,  // in part at least; it will be copied
    unreadable,   // the disk does not give it; the kernel's log says why
    later,        // the volume is suspended, the range busy, or the ring full
  };
  Step step = Step::later;
  std::uint64_t seq = 0;  // volume_seq of the record, if sent
};

/// Destroying it detaches; the kernel then keeps every record that was not released.
class Ring {
 public:
  virtual ~Ring() = default;
  virtual RingView& view() = 0;
  virtual RingShape shape() const = 0;
  /// Of the volume now. A size that the kernel never said is that of the beginning.
  std::uint64_t sectors() {
    const std::uint64_t now = view().sectors();
    return now == 0 ? shape().sectors : now;
  }
  /// Whether the ring's records are numbered; if not, start() gives the last number the hub has.
  virtual bool started() const = 0;
  /// `journal`: the hub's, to be remembered.
  virtual Result<void> start(std::uint64_t base_seq, const Uuid& journal) = 0;
  /// Tell the kernel to look at the acknowledgements.
  virtual Result<void> doorbell() = 0;
  /// Waits for records past the word `consumed`. An error means that the ring is lost.
  virtual Task<Result<void>> readable() = 0;
  /// Waits until the ring is lost: the volume was removed, or the kernel has detached us.
  virtual Task<Error> lost() = 0;
  /// Ends readable() and lost().
  virtual void close() = 0;
  static constexpr std::uint64_t no_limit = ~std::uint64_t{0};
  /// Whether the kernel may copy what is out of sync: while the hub keeps the bracket open. Only
  /// what begins before sector `until`; with no_limit all, and then it says that all is the same.
  virtual Result<void> resync(bool run, std::uint64_t until) = 0;
  /// Whether the module has the next two.
  virtual bool can_compare() const = 0;
  /// Reads the first region from sector `from` on (0, or Peeked.next) that is out of sync into
  /// `buffer`, which has room for one and lives until then. One at a time.
  virtual Task<Result<Peeked>> peek(std::uint64_t from, std::span<std::byte> buffer) = 0;
  /// The hub's copy holds what was read. An error if it has to be read again.
  virtual Result<void> same(const Peeked& region) = 0;
  /// Whether the module has the next one.
  virtual bool can_verify() const = 0;
  /// Gives the checksum of what the volume holds there its place in the ring, or with `content`
  /// all of it, as a write. `bytes`: whole blocks, at most limits::record_payload_bytes_max. One at
  /// a time.
  virtual Task<Result<Verifying>> verify(std::uint64_t sector, std::uint32_t bytes,
                                         bool content) = 0;
  /// The hub has not detached the volume, and will not within `duration` from now. `fence`
  /// (cascade_fence): the level that it knows. An error if the volume has gone on alone.
  virtual Result<void> lease(Duration duration, std::uint8_t fence) = 0;
  /// Under fence level `status`: the hub has detached the volume, which goes on alone now and has
  /// another ring from then on.
  virtual Result<void> alone() = 0;
  /// For the kernel's own status. Best effort.
  virtual void report_link(LinkState state) = 0;
};

class RingHost {
 public:
  virtual ~RingHost() = default;
  /// Errc::not_found while the volume's target does not exist (or the module is not loaded),
  /// Errc::refused if another daemon has it, Errc::version for a module of another ABI.
  virtual Result<std::unique_ptr<Ring>> attach(const Uuid& volume) = 0;
};

}  // namespace cascade
