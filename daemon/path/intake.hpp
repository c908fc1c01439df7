// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a receiving session may bring in, and what becomes of it. Decides, does no I/O: drops what
// is already here, refuses gaps and strangers, numbers (hub) or checks the numbers (remote), and
// appends to the journal.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/path/journal.hpp"
#include "lib/format/frame.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace cascade {

/// Asked about a volume that its copy is too small for, before it is refused. True: the copy has
/// grown enough by now, and this group begins anew with its new size.
using TooSmall = std::function<bool(const Uuid& volume, std::uint64_t needed)>;

/// To a sender whose copy has grown: nothing is wrong, it asks again. Errc::closed, not refused.
inline Error copy_has_grown() {
  return {Errc::closed, "the copy has grown, and its group begins anew with that"};
}

/// What is known of a copy on this node.
struct CopyShape {
  std::uint64_t bytes = 0;  // 0: there is none
  std::uint32_t block = 0;  // in bytes
};

/// Ends a session from outside, for that reason.
using EndSession = std::function<void(std::string reason)>;

class Intake {
 public:
  virtual ~Intake() = default;

  /// Takes the session over from an older one of the same streams, if any, and answers where to go
  /// on. `superseded` ends this session, if a later one does the same to it, or as its lease runs
  /// out. Errc::refused.
  virtual Result<Welcome> open(const Hello& hello, EndSession superseded) = 0;
  /// The session is over; harmless if it was never opened or was superseded.
  virtual void close() = 0;

  /// How long to wait before the next DATA frame is read: the node would rather have less.
  virtual Duration pause() const { return {}; }
  /// Records of one DATA frame, checked by themselves. Errc::refused, Errc::corrupt.
  virtual Result<void> take(Incoming incoming) = 0;
  /// The sender's FrameHeader.tally, of each frame.
  virtual void told(std::uint64_t tally) = 0;
  /// Ours, for each frame that is not the welcome. `beat`: a heartbeat has passed since the last.
  virtual std::uint64_t tally(bool beat) = 0;

  /// Where each stream is now; overwrites `out`.
  virtual void acks(std::vector<Ack>& out) const = 0;
  /// How this node is, for a sender that wants to know; nothing: it is not told.
  virtual std::optional<Report> report() const { return std::nullopt; }
  /// group_seq that this node's copy of a volume has to hold before it can be compared with what
  /// the sender has: all that stands before this session's writes, or what they jump over, and may
  /// not be in the sender's. Nothing: not known yet.
  virtual std::optional<std::uint64_t> comparable_from(const Uuid& volume) const = 0;
  /// Whether an acknowledgement of receipt alone is worth a frame.
  virtual bool acks_receipt() const = 0;
};

}  // namespace cascade
