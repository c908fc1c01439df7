// SPDX-License-Identifier: GPL-2.0-or-later
//
// `dmcascade verify` of one volume: goes through it range by range, and has the kernel put the
// checksum of each into the stream, for hub and remote to compare (verification.hpp). Rests beside
// writers, keeps to the rate that was asked for, and is never further ahead of the hub's copy than
// that can read in a moment. Without a session it waits.
//
// A repair follows once all copies have come to the end: what they named as different is written to
// them as the volume holds it, in the stream, and compared once more behind that. What differs on
// all copies, of several, is left out: two disks hardly fail in the same place, so it may be the
// primary's own that is wrong.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/io/ring.hpp"
#include "daemon/path/ranges.hpp"
#include "lib/format/frame.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cascade {

class Verifier {
 public:
  struct Order {
    std::uint64_t from = 0;  // bytes, whole blocks
    std::uint64_t rate = 0;  // bytes a second; 0: no limit
    bool repair = false;
    bool sure = false;                    // repair even what differs on all copies
    std::vector<std::string> nodes = {};  // whose copies are to be compared: the hub, first
  };
  struct Status {
    /// None was asked for, it compares, or repairs, the copies have not come to its end yet, all is
    /// done, or it was stopped.
    enum class State { none, running, repairing, waiting, done, stopped };
    struct Copy {
      Verified found;              // what differs still, as far as is known
      std::uint64_t repaired = 0;  // bytes that differed, and do not any more
    };
    State state = State::none;
    std::uint64_t since_ns = 0;        // CLOCK_REALTIME
    std::uint64_t from = 0, next = 0;  // bytes: what lies between has been read
    std::uint64_t out_of_sync = 0;     // bytes of that: left to the resync
    std::uint64_t unreadable = 0;      // bytes of that, on this disk
    std::uint64_t doubtful = 0;        // bytes that differ on all copies, of several
    std::vector<Copy> copies = {};     // of those nodes that have said something
  };

  /// `ring` outlives run().
  Verifier(const Executor& executor, Clock& clock, Ring& ring);

  /// Until stop(), or the ring is lost.
  Task<> run();
  void stop();

  /// A session has begun, whose hub compares, or is over.
  void session(bool compares);

  /// Errc::refused: one goes on, or that can't be compared. Errc::invalid: no place in the volume.
  Result<void> begin(const Order& order);
  /// No more of it. Errc::refused: none goes on.
  Result<void> end();
  /// What a node has found so far.
  void learn(const Verified& found);

  Status status() const;

 private:
  using State = Status::State;

  using Copies = std::map<std::string, Status::Copy>;

  bool goes_on() const;
  bool may_step() const;
  bool may_repair() const;
  Task<> step();
  Task<bool> send(std::uint64_t at, std::uint32_t bytes);
  Task<std::optional<Verifying>> ask(std::uint64_t at, std::uint32_t bytes, bool content);
  void note(const Verifying& verifying, std::uint32_t bytes);
  void begin_repair();
  void begin_pass();
  std::uint64_t left() const;
  Duration pause_after(Duration took, std::uint32_t bytes, bool writers) const;
  bool somebody_writes();
  std::uint64_t volume_bytes() const;
  bool all_have_compared() const;
  Verified said(const std::string& node) const;
  Copies copies() const;
  Ranges doubtful(const Copies& copies) const;

  Clock& clock_;
  Ring& ring_;
  Signal changed_;
  std::unique_ptr<Timer> timer_;
  Order order_;
  Status status_;
  std::deque<std::uint64_t> ahead_;  // volume_seq that the hub's copy has not come to
  // Of this pass, which compares, or repairs:
  std::uint64_t first_seq_ = 0;  // 0: none
  std::uint64_t last_seq_ = 0;
  std::map<std::string, Verified> found_;
  std::map<std::string, Verified> before_;  // what nodes had found before they began anew
  Copies compared_;                     // while it repairs, and after it: what comparing has found
  Ranges left_out_;                     // of the repair
  std::deque<Verified::Range> differ_;  // that are still to be repaired
  std::uint64_t published_ = 0;         // at the last look
  std::uint64_t sent_ = 0;              // of that from here, since then
  unsigned attempt_ = 0;                // which order it is
  bool compares_ = false;
  bool stopped_ = false;
};

}  // namespace cascade
