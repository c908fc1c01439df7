// SPDX-License-Identifier: GPL-2.0-or-later
//
// One consistency group on this node: the composition of source, journal and sinks that its roles
// ask for. Everything in it runs on one thread.
//
//   primary = RingFeed -> Link
//   hub     = Receiver* -> MirrorIntake -> Journal -> Applier,  JournalFeed -> Link
//   remote  = Receiver -> ShipIntake -> Journal -> Applier
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/io/disk.hpp"
#include "daemon/io/net.hpp"
#include "daemon/io/ring.hpp"
#include "daemon/io/worker.hpp"
#include "daemon/path/applier.hpp"
#include "daemon/path/catch_up.hpp"
#include "daemon/path/journal.hpp"
#include "daemon/path/journal_feed.hpp"
#include "daemon/path/link.hpp"
#include "daemon/path/mirror_intake.hpp"
#include "daemon/path/receiver.hpp"
#include "daemon/path/ring_feed.hpp"
#include "daemon/path/ship_intake.hpp"
#include "daemon/path/witness.hpp"
#include "lib/api/api.hpp"
#include "lib/config/config.hpp"

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace cascade {

class GroupNode {
 public:
  /// The seams that a node stands on.
  struct Seams {
    Executor executor;
    Clock& clock;
    Net& net;
    DiskHost& disks;
    RingHost& rings;
    Worker& worker;
  };

  /// `config` and `group` must outlive it. It may be destroyed at any moment, as a crash would end
  /// it, if its loop was abandoned before (daemon/io/loop.hpp).
  GroupNode(const Seams& seams, const Config& config, const GroupConfig& group, std::string node);
  ~GroupNode();

  /// Whether this node has any part in the group.
  static bool concerns(const GroupConfig& group, const std::string& node);

  /// Opens devices, recovers, runs until stop(), or until it has failed.
  Task<> run();
  /// An orderly end: what was received is stored, copies are flushed, the journal is closed.
  void stop();
  /// It has started, and takes sessions.
  bool ready() const { return ready_; }
  /// Why run() has returned, if nobody has stopped it.
  const std::optional<Error>& failure() const { return failure_; }
  /// It has ended so that another one may begin at once; nothing has failed.
  bool begins_anew() const { return begins_anew_; }

  /// A session of an upstream node, after its hello was read. Once it is ready.
  void accept(std::unique_ptr<Stream> stream, Hello hello);

  /// As of now, without conditions.
  api::Group status();
  /// `dmcascade bracket end`: the group goes on without the volume, if its bracket waits for it.
  Result<void> end_bracket(const std::string& volume);
  /// `dmcascade bracket apply`: this node's copies go past the open bracket, which has no use any
  /// more for what they held at its limit.
  Result<void> apply_bracket();
  /// `dmcascade remote replace`: the remote is another one, and all is compared with it.
  Result<void> replace_remote();

  /// What a promotion of this node would mean now, or what has become of it. With `at_ns`: as of
  /// what it took in through then (CLOCK_REALTIME). Errc::refused if it has no copies, or can't be
  /// promoted, or its copies hold more already.
  Result<api::Takeover> takeover(bool newest, std::uint64_t at_ns = 0) const;
  /// `dmcascade promote`: nothing more is taken, the copies go to their last whole point and are
  /// handed over. Decided once it is on the journal's disk: whatever happens after that, it comes
  /// to its end. Asked again, it says how far it is; a hub with a witness has to hear of that
  /// first, and refuses then what it said. Errc::refused names what `force` has to accept.
  Result<api::Takeover> promote(bool newest, const std::vector<std::string>& force,
                                std::uint64_t at_ns = 0);

  /// `dmcascade rejoin`: what this node's journal holds, and what was written to its copies after a
  /// promotion, is given up, and it follows again. The lines say what that is; with `dry_run`
  /// nothing else happens. It is done with the end of this object, in one write. Errc::refused: it
  /// follows already, its copies are in use, or `force` does not accept that.
  Result<api::Done> rejoin(bool dry_run, const std::vector<std::string>& force);

  /// `dmcascade swap`: this node keeps a journal of the group for others from now on. Its journal
  /// is made anew, and begins with what its copies hold; done with the end of this object, in one
  /// write. Errc::refused: it follows somebody, or they do not hold all that the journal has.
  Result<void> swap();

  /// `dmcascade verify`: a volume of this primary is compared with its copies, as `order` says, but
  /// for its nodes; see Volume::verify in status.
  /// Errc::refused, Errc::invalid, Errc::not_found.
  Result<void> begin_verify(const std::string& volume, Verifier::Order order);
  Result<void> end_verify(const std::string& volume);

  /// `dmcascade drill`: the copies are held, as of a whole point or (to end one) of any, until they
  /// are to go on, or for 30 s: see drill in status. With `at_ns` as for takeover().
  /// Errc::refused; go_on: if they were not held.
  Result<void> begin_drill(std::uint64_t at_ns = 0);
  Result<void> end_drill();
  Result<void> go_on_after_drill();

 private:
  /// What hub and remote have and a primary has not.
  struct Storage {
    std::unique_ptr<Disk> journal_disk;
    std::unique_ptr<Disk> undo_disk;  // null: none is configured
    std::unique_ptr<Journal> journal;
    std::unique_ptr<Applier> applier;
  };

  bool is_hub() const { return group_.hub == node_; }
  bool is_remote() const { return group_.remote == node_; }
  std::vector<const VolumeConfig*> primary_volumes() const;

  Task<Result<void>> start();
  Task<Result<void>> know_copies(Journal& journal, const Applier::Copies& copies);
  Result<void> know_copy(Journal& journal, const Uuid& volume, const Disk& disk);
  Task<Result<void>> start_storage();
  Task<Result<void>> start_undo(Storage& storage);
  Result<std::unique_ptr<Disk>> open_disk(const std::string& path);
  Result<Applier::Copies> open_copies();
  Task<Result<void>> start_hub();
  std::uint64_t needed_from() const;
  void start_remote();
  void start_primary();
  Task<> run_storage();
  Task<> serve(std::unique_ptr<Stream> stream, Hello hello);
  std::unique_ptr<Intake> make_intake(const Hello& hello, const std::string& host);
  LinkStatus& upstream_status(const std::string& peer);
  void fail(const Error& error);
  void begin_anew();
  Task<> watch_storage();

  Result<void> may_rejoin();
  api::Done given_up() const;
  Task<> make_next_journal();

  using Doubts = std::vector<api::Takeover::Doubt>;
  bool taken_over() const;
  Task<> finish_takeover();
  Task<> bring_to_end();
  Task<> persist_takeover();
  Result<void> is_reachable(std::uint64_t at_ns) const;
  void doubt_hub(Doubts& out) const;
  void doubt_remote(Doubts& out) const;
  void doubt_copies(Doubts& out) const;
  void doubt_bracket(bool newest, Doubts& out) const;
  void decide_takeover(const Takeover& wanted, const std::vector<std::string>& force);

  bool has_witness() const { return group_.fence_level == FenceLevel::witness; }
  void know_witness();
  Task<> ask_to_go_alone();
  Task<> let_go_alone(const Petition& petition);
  Task<> withdraw(Petition petition, Timer& timer);
  Error does_not_grant(const std::string& why) const;
  Result<bool> may_ask_witness(const Takeover& wanted, const std::vector<std::string>& force);
  Task<> ask_to_be_promoted(Takeover wanted, std::vector<std::string> force);
  Task<> withdraw_petition();
  Petition petition_for(const Uuid& name) const;
  void say_as_witness(const Hello& hello, const Welcome& welcome);
  Task<> witness(std::unique_ptr<Stream> stream, Hello hello);
  void doubt_grants(Doubts& out) const;
  Error parted(const Hello& hello) const;

  Result<void> has_copies() const;
  Result<void> no_drill() const;
  Result<void> fit_for_drill() const;
  std::optional<api::Drill> drill_status() const;

  Result<const VolumeConfig*> own_volume(const std::string& name) const;
  static std::optional<api::Verify> verify_status(const Verifier::Status& status);
  std::optional<api::Verify> verify_status(const Uuid& volume) const;

  std::vector<api::Volume> volume_statuses();
  api::Volume primary_status(const RingFeed::VolumeStatus& volume);
  api::Volume copy_status(const VolumeConfig& volume);
  std::optional<api::Journal> journal_status() const;
  std::optional<api::RemoteLag> remote_status();
  std::vector<api::Latency> latency_status() const;
  std::optional<api::Bracket> bracket_status() const;
  std::string awaited_of(const Uuid& volume) const;
  std::optional<Error> storage_failure() const;
  bool look_at_copy(const Uuid& volume, std::uint64_t needed);

  Seams seams_;
  const Config& config_;
  const GroupConfig& group_;
  std::string node_;
  SessionTimes times_;
  Crew crew_;
  Crew sessions_;
  Signal stop_;
  std::optional<Error> failure_;
  Verification verification_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<MirrorVolumes> mirror_;
  std::unique_ptr<JournalFeed> journal_feed_;
  std::unique_ptr<CatchUp> catch_up_;
  std::unique_ptr<ShipState> ship_;
  std::unique_ptr<RingFeed> ring_feed_;
  std::unique_ptr<Link> link_;              // to the hub, on a primary
  std::unique_ptr<Link> ship_link_;         // to the remote, on the hub
  std::unique_ptr<Petitioner> petitioner_;  // null: the group has no witness, or it is this node
  std::unique_ptr<Timer> wish_timer_;       // likewise, before it is asked again
  std::unique_ptr<Timer> withdraw_timer_;
  report::Budget witness_lines_;               // of this node as the witness
  bool asks_witness_ = false;                  // whether it may be promoted
  std::optional<Error> witness_refused_ = {};  // to that, until somebody hears of it
  std::list<Receiver*> receivers_;
  std::map<std::string, LinkStatus> upstream_;
  bool ready_ = false;
  bool begins_anew_ = false;
  // What its journal is made once nobody has it any more.
  enum class NextJournal { same, empty, from_copies } next_journal_ = NextJournal::same;
  bool stopping_ = false;
};

}  // namespace cascade
