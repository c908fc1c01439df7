// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hub's intake: volumes of primaries, each in the order of its volume_seq, into one group
// order.
#pragma once

#include "daemon/path/bracket.hpp"
#include "daemon/path/intake.hpp"
#include "daemon/path/lease.hpp"
#include "lib/config/config.hpp"

#include <map>
#include <set>
#include <string>

namespace cascade {

/// The volumes of one group as the hub knows them, shared by the sessions of all primaries.
class MirrorVolumes {
 public:
  struct Volume {
    const VolumeConfig* config = nullptr;
    std::uint64_t bytes = 0;     // size of the hub's copy
    std::uint32_t block = 0;     // its block
    std::uint64_t received = 0;  // volume_seq
    std::uint32_t differs = 0;   // CASCADE_DIFFERS_*, as its primary last said
    EndSession superseded;       // of the session that has it; empty: none
    const void* owner = nullptr;
    std::string owner_host;
    std::string refusal;  // why its last offer was refused; empty if it was not
    /// Of the session that has it, if any: it has the volume no more.
    void end_session(const std::string& why);

    bool leased = false;       // its primary may go on alone once its lease has run out
    std::uint64_t last = 0;    // group_seq of its last write, or a later one
    std::uint64_t unsure = 0;  // of the last one that its primary's disk may lack
  };

  MirrorVolumes(const GroupConfig& group, Journal& journal, Clock& clock);

  /// After the journal is open: what it holds. `copy_of` tells of the hub's copies.
  void load(const std::function<CopyShape(const Uuid&)>& copy_of);
  void on_too_small(TooSmall told) { too_small_ = std::move(told); }
  /// `told` is called when a volume turns out to be of another size or generation than was known:
  /// describe() says something else then.
  void on_change(std::function<void()> told) { changed_ = std::move(told); }
  void learn_size(const Uuid& volume, std::uint64_t bytes);
  void learn_source(const Uuid& volume, const VolumeSource& source);
  Result<void> fits(const Volume& volume, const Hello::Stream& stream) const;
  /// What the remote is told of the volumes: an entry each, which offers nothing.
  std::vector<Hello::Stream> describe() const;

  const GroupConfig& group() const { return group_; }
  Journal& journal() { return journal_; }
  Volume* find(const Uuid& uuid);
  const std::map<Uuid, Volume>& all() const { return volumes_; }

  /// After load(), before the first session: what the last run of the hub may have lost of what it
  /// had acknowledged is sent again, and brackets that were open go on.
  void resume();
  Bracket& bracket() { return bracket_; }

  /// What a hello says of the volume's fence level (cascade_fence). With `never` and `witness` its
  /// lease begins now, if none is under way.
  void set_fence(Volume& volume, std::uint8_t fence);
  /// The volume is refused, and its primary under `status` will go on alone for that. On disk with
  /// the journal's persist().
  void detach(const Uuid& volume);
  /// The volume's primary has taken a renewal that was made `then`.
  void renewed(Volume& volume, Duration then);
  /// Volumes whose lease has run out are detached, and their sessions end. Before anything else is
  /// appended or acknowledged: this program may have stood still for any time.
  void close_leases();
  /// Does so while nothing arrives, until stop().
  Task<> watch_leases();
  void stop();
  /// How long the volume's lease still holds; nothing if it has none.
  std::optional<Duration> lease_left(const Uuid& volume) const;
  Duration now() const { return clock_.boottime(); }

 private:
  const GroupConfig& group_;
  Journal& journal_;
  std::map<Uuid, Volume> volumes_;
  Clock& clock_;
  std::function<void()> changed_;
  TooSmall too_small_;
  Bracket bracket_;
  Leases leases_;
  std::unique_ptr<Timer> lease_timer_;
  bool stopping_ = false;
};

class MirrorIntake final : public Intake {
 public:
  /// `host`: where the session comes from.
  MirrorIntake(MirrorVolumes& volumes, std::string host)
      : volumes_(volumes), host_(std::move(host)) {}
  ~MirrorIntake() override { close(); }

  Result<Welcome> open(const Hello& hello, EndSession superseded) override;
  void close() override;
  Duration pause() const override;
  Result<void> take(Incoming incoming) override;
  /// The primary's kernel has taken this renewal.
  void told(std::uint64_t renewal) override;
  std::uint64_t tally(bool beat) override;
  void acks(std::vector<Ack>& out) const override;
  bool acks_receipt() const override;
  std::optional<std::uint64_t> comparable_from(const Uuid& volume) const override;

 private:
  Result<MirrorVolumes::Volume*> entitled(const Hello& hello, const Hello::Stream& stream);
  Result<void> same_history(const MirrorVolumes::Volume& volume, const Hello::Stream& stream) const;
  Result<void> follows_last_ring(const MirrorVolumes::Volume& volume,
                                 const Hello::Stream& stream) const;
  Result<void> continues(const MirrorVolumes::Volume& volume, const Hello::Stream& stream) const;
  Result<MirrorVolumes::Volume*> take_over(const Hello& hello, const Hello::Stream& stream,
                                           const EndSession& superseded);
  static std::uint64_t unsure_of(const MirrorVolumes::Volume& volume, const Hello::Stream& stream);
  bool detach(const Hello& hello, const Hello::Stream& stream);
  Answer let_leave(const Hello& hello, const Hello::Stream& stream);
  Result<void> settled(const MirrorVolumes::Volume& volume) const;
  void drop_known(Incoming& incoming);
  /// Whether it may have that place in the group's order; then it counts as received.
  Result<void> accept(const Record& record, std::uint64_t group_seq);
  MirrorVolumes::Volume* mine(const Uuid& uuid);

  MirrorVolumes& volumes_;
  std::string host_;
  std::vector<MirrorVolumes::Volume*> streams_;
  Renewals renewals_;
  std::uint64_t renewal_ = 0;  // the last one made
};

}  // namespace cascade
