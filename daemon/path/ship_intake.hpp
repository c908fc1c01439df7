// SPDX-License-Identifier: GPL-2.0-or-later
//
// The remote's intake: the group's order as the hub made it. What the hub shipped before it was
// stable there (`ship received`) is held in memory until the hub says that it is: a hub that
// crashes may give those numbers to other writes, and this journal must never hold what the hub
// does not.
#pragma once

#include "daemon/path/intake.hpp"
#include "lib/config/config.hpp"

#include <deque>
#include <map>
#include <optional>
#include <set>

namespace cascade {

/// What outlives a session.
struct ShipState {
  const GroupConfig& group;
  Journal& journal;
  std::map<Uuid, CopyShape> copies;     // of this node, by volume
  std::set<Uuid> leaving = {};          // volumes without a copy whose last writes the hub may send
  std::optional<Jump> gap = {};         // what this session lets the journal jump over
  std::function<Report()> report = {};  // how this node is
  TooSmall too_small = {};
  std::uint64_t heard_ns =
      0;  // CLOCK_REALTIME, when the hub was heard last; 0: not since the start
  std::function<std::uint64_t()> realtime_ns = {};
  std::uint64_t upstream_stored = 0;
  std::deque<Incoming> held = {};  // received, not yet stable at the hub
  std::size_t held_bytes = 0;
  std::uint64_t held_seq = 0;  // last group_seq held; 0: none
  EndSession superseded = {};
  const void* owner = nullptr;

  std::uint64_t received_seq() const { return held.empty() ? journal.received_seq() : held_seq; }
};

class ShipIntake final : public Intake {
 public:
  explicit ShipIntake(ShipState& state) : state_(state) {}
  ~ShipIntake() override { close(); }

  Result<Welcome> open(const Hello& hello, EndSession superseded) override;
  void close() override;
  Result<void> take(Incoming incoming) override;
  /// The hub has everything through this group_seq on stable storage.
  void told(std::uint64_t group_seq) override;
  std::uint64_t tally(bool) override { return 0; }
  void acks(std::vector<Ack>& out) const override;
  bool acks_receipt() const override;
  std::optional<std::uint64_t> comparable_from(const Uuid& volume) const override;
  std::optional<Report> report() const override {
    return state_.report ? std::optional(state_.report()) : std::nullopt;
  }

 private:
  Result<void> fits(const Hello::Stream& volume) const;
  void learn_generations(const Hello& hello);
  Result<std::uint64_t> first_of_run(const Incoming& incoming) const;
  Result<void> check(const Record& record) const;
  void release_held();

  ShipState& state_;
};

}  // namespace cascade
