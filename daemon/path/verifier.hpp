// SPDX-License-Identifier: GPL-2.0-or-later
//
// `dmcascade verify` of one volume: goes through it range by range, and has the kernel put the
// checksum of each into the stream, for hub and remote to compare (verification.hpp). Rests beside
// writers, keeps to the rate that was asked for, and is never further ahead of the hub's copy than
// that can read in a moment. Without a session it waits.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/io/ring.hpp"
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
    std::uint64_t from = 0;               // bytes, whole blocks
    std::uint64_t rate = 0;               // bytes a second; 0: no limit
    std::vector<std::string> nodes = {};  // whose copies are to be compared: the hub, first
  };
  struct Status {
    /// None was asked for, it goes on, the copies have not come to its end yet, all is compared, or
    /// it was stopped.
    enum class State { none, running, waiting, done, stopped };
    State state = State::none;
    std::uint64_t since_ns = 0;        // CLOCK_REALTIME
    std::uint64_t from = 0, next = 0;  // bytes: what lies between has been read
    std::uint64_t out_of_sync = 0;     // bytes of that: left to the resync
    std::uint64_t unreadable = 0;      // bytes of that, on this disk
    std::vector<Verified> found = {};  // by those nodes that have said something
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

  bool may_step() const;
  Task<> step();
  void note(const Verifying& verifying, std::uint32_t bytes);
  Duration pause_after(Duration took, std::uint32_t bytes, bool writers) const;
  bool somebody_writes();
  std::uint64_t volume_bytes() const;
  bool all_have_compared() const;

  Clock& clock_;
  Ring& ring_;
  Signal changed_;
  std::unique_ptr<Timer> timer_;
  Order order_;
  Status status_;
  std::deque<std::uint64_t> ahead_;  // volume_seq that the hub's copy has not come to
  std::uint64_t first_seq_ = 0;      // of this order; 0: none
  std::uint64_t last_seq_ = 0;
  std::map<std::string, Verified> found_;
  std::map<std::string, Verified> before_;  // what nodes had found before they began anew
  std::uint64_t published_ = 0;             // at the last look
  std::uint64_t sent_ = 0;                  // of that from here, since then
  unsigned attempt_ = 0;                    // which order it is
  bool compares_ = false;
  bool stopped_ = false;
};

}  // namespace cascade
