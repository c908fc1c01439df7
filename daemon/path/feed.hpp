// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a Link pulls from: the rings of a primary's volumes, or a cursor over the hub's journal.
#pragma once

#include "daemon/io/ring.hpp"
#include "daemon/path/batch.hpp"
#include "lib/format/frame.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cascade {

/// Consecutive records and their payload, in place.
struct Piece {
  std::span<const Record> records;
  std::span<const std::byte> payload;
  BatchPtr keep = nullptr;  // what the spans point into, if it is a batch
};

/// One DATA frame's contents: that of its pieces, one after another. Stable until the feed is asked
/// for the next one.
struct Outgoing {
  /// As many as go into one sendmsg() of Asio's with the frame's header: it takes 64 buffers.
  static constexpr std::size_t pieces_max = 31;

  std::span<const Piece> pieces;
};

class Feed {
 public:
  virtual ~Feed() = default;

  virtual SessionKind kind() const = 0;
  /// Waits until a session would make sense, or wake().
  virtual Task<> wait_for_streams() = 0;
  /// What to offer; empty: nothing to connect for.
  virtual std::vector<Hello::Stream> streams() = 0;
  /// Id of the journal that the streams come from; nil on a primary.
  virtual Uuid journal() const = 0;
  /// The peer has answered: go on where it says, without the streams that it refused. An error if
  /// that cannot be; Errc::closed if a new session has to begin.
  virtual Task<Result<void>> begin(const Welcome& welcome) = 0;
  /// The session is over; nothing of an Outgoing is used any more.
  virtual void end() = 0;

  /// The next records, or nothing now. Errc::closed: begin a new session at once (the set of
  /// streams has changed).
  virtual Task<Result<std::optional<Outgoing>>> next() = 0;
  /// What next() gave goes out now, in so many bytes.
  virtual void sending(std::size_t) {}
  /// Waits until there may be more, or something to tell, or wake().
  virtual Task<> wait() = 0;
  virtual void wake() = 0;
  virtual Result<void> acked(std::span<const Ack> acks) = 0;
  /// Whether there is something to ask the peer's copies.
  virtual bool has_asks() const { return false; }
  /// That; it counts as asked.
  virtual std::vector<Ask> asks() { return {}; }
  /// The peer's answers.
  virtual Result<void> answered(std::span<const Sum>) {
    return Error{Errc::refused, "the peer answers what nobody has asked"};
  }
  /// What it, or a node behind it, has found by comparing its copies.
  virtual void verified(Verified) {}
  /// How the peer is.
  virtual void reported(const Report&) {}
  /// The peer's FrameHeader.tally, of each frame that is not a welcome.
  virtual Result<void> told(std::uint64_t tally) = 0;

  /// For FrameHeader.tally: group_seq that is stable on this node; on a primary the last renewal of
  /// its lease.
  virtual std::uint64_t tally() const = 0;
  /// For whoever shows it.
  virtual void link_state(LinkState state) = 0;
};

}  // namespace cascade
