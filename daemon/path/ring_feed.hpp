// SPDX-License-Identifier: GPL-2.0-or-later
//
// The source of a primary: the rings of this node's volumes of one group. Volumes come and go with
// `dmcascade create` and `remove`; a session names the rings that were there when it began, and a
// change of the set asks for a new one. Records are handed out in place, never copied.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/path/feed.hpp"
#include "daemon/path/transit.hpp"
#include "daemon/path/verifier.hpp"
#include "lib/config/config.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cascade {

class RingFeed final : public Feed {
 public:
  struct VolumeStatus {
    const VolumeConfig* config;
    bool attached;
    std::string reason;        // why not attached, or why it cannot replicate
    bool refused = false;      // by the hub
    std::string witness = {};  // why it does not let the volume go on alone, if that was asked
    bool leaving = false;      // not attached: removed in order, and the hub does not know it
    RingShape shape = {};
    std::uint64_t heard_sectors = 0;  // the size that the hub last answered for; 0: none yet
    std::uint32_t differs = 0;
    std::uint64_t local_errors = 0;
    std::uint64_t out_of_sync = 0;              // sectors
    std::optional<double> resync_seconds = {};  // until nothing is out of sync; nothing: not known
    std::uint64_t resynced = 0;                 // bytes
    std::uint64_t same = 0;                     // bytes that were compared, and the hub had
    std::uint64_t alone_ns = 0;                 // CLOCK_REALTIME; 0: it is not alone
    std::uint8_t fence = 0;                     // cascade_fence
    std::optional<Duration> lease_left = {};    // nothing: it has none
    std::uint64_t published = 0, received = 0, stored = 0, released = 0;
    Verifier::Status verify = {};
  };

  RingFeed(const Executor& executor, Clock& clock, RingHost& host, std::string subject,
           std::vector<const VolumeConfig*> volumes);
  ~RingFeed() override;

  /// Attaches to rings as they appear, watches them, lets go of lost ones; until stop().
  Task<> run();
  void stop();
  std::vector<VolumeStatus> status();
  /// `dmcascade verify`. Errc::refused: the volume has no ring, or its hub can't compare; and as
  /// Verifier.
  Result<void> begin_verify(const Uuid& volume, const Verifier::Order& order);
  Result<void> end_verify(const Uuid& volume);
  /// Fence level `witness`: volumes with writes that wait and a lease that is over, each with the
  /// generation that it would part from to go on alone.
  std::map<Uuid, Uuid> wants_alone();
  /// What the witness says to one of them: the volume goes on alone, or `refusal` says why not.
  /// Whether it has done so.
  bool hear_witness(const Uuid& volume, const std::optional<Error>& refusal);
  /// Of the writes of all volumes, since this daemon began.
  const Transit::Latencies& latencies() const { return latencies_; }

  SessionKind kind() const override { return SessionKind::mirror; }
  Task<> wait_for_streams() override { return wait(); }
  std::vector<Hello::Stream> streams() override;
  Uuid journal() const override { return {}; }
  Task<Result<void>> begin(const Welcome& welcome) override;
  void end() override;
  Task<Result<std::optional<Outgoing>>> next() override;
  Task<> wait() override;
  void wake() override { work_.notify(); }
  Result<void> acked(std::span<const Ack> acks) override;
  bool has_asks() const override;
  std::vector<Ask> asks() override;
  Result<void> answered(std::span<const Sum> sums) override;
  void verified(Verified found) override;
  /// The hub renews its lease.
  Result<void> told(std::uint64_t renewal) override;
  std::uint64_t tally() const override { return renewal_; }
  void link_state(LinkState state) override;

 private:
  struct Volume;

  Task<> serve(Volume& volume);
  Task<> watch_readable(Volume& volume);
  Task<> attach(Volume& volume);
  Task<> ask_again();
  void note_end(Volume& volume);
  void look_for_changes(const Volume& volume);
  bool is_served(const Volume& volume) const;
  bool leave_hub(Volume& volume);
  bool forget_left(const Uuid& uuid);
  Result<void> take_lease(Volume& volume);
  Result<void> go_on(Volume& volume, const Ack& ack, const Welcome& welcome);
  Result<void> begin_resync(Volume& volume, bool hub_answers);
  std::size_t asks_room() const;
  void report(Volume& volume, const std::string& reason);
  Volume* in_session(const Uuid& uuid);
  Volume* with_ring(const Uuid& uuid);

  Executor executor_;
  Clock& clock_;
  RingHost& host_;
  std::string subject_;
  Transit::Latencies latencies_;
  std::vector<std::unique_ptr<Volume>> volumes_;
  Crew crew_;
  Signal work_;    // next() may have something, or the session should look up
  Signal let_go_;  // a session has ended
  std::unique_ptr<Timer> ask_timer_;
  std::optional<TimePoint> ask_at_;  // when to offer refused volumes again
  int refusals_ = 0;                 // sessions in a row with a refused volume
  std::size_t turn_ = 0;
  Piece piece_;                // of the last Outgoing
  Duration lease_{};           // that the hub gives, of the session under way; 0: none
  std::uint64_t renewal_ = 0;  // the last that all volumes of the session have taken
  LinkState state_ = LinkState::down;
  bool in_session_ = false;
  bool hub_verifies_ = true;  // that was here last, if any
  bool changed_ = false;      // the set of rings is not the session's any more
  bool stopping_ = false;
};

}  // namespace cascade
