// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hub's intake: volumes of primaries, each in the order of its volume_seq, into one group
// order.
#pragma once

#include "daemon/path/bracket.hpp"
#include "daemon/path/intake.hpp"
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
    std::uint64_t bytes = 0;           // size of the hub's copy
    std::uint32_t block = 0;           // its block
    std::uint64_t primary_bytes = 0;   // size of the volume, as its primary last said; 0: not known
    std::uint64_t received = 0;        // volume_seq
    std::uint32_t differs = 0;         // CASCADE_DIFFERS_*, as its primary last said
    std::function<void()> superseded;  // of the session that has it; empty: none
    const void* owner = nullptr;
    std::string owner_host;
    std::string refusal;  // why its last offer was refused; empty if it was not
  };

  MirrorVolumes(const GroupConfig& group, Journal& journal, Clock& clock);

  /// After the journal is open: what it holds. `copy_of` tells of the hub's copies.
  void load(const std::function<CopyShape(const Uuid&)>& copy_of);
  /// `told` is called when a volume turns out to have another size than was known.
  void on_sizes_changed(std::function<void()> told) { sizes_changed_ = std::move(told); }
  void learn_size(Volume& volume, std::uint64_t bytes);
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

 private:
  const GroupConfig& group_;
  Journal& journal_;
  std::map<Uuid, Volume> volumes_;
  std::function<void()> sizes_changed_;
  Bracket bracket_;
};

class MirrorIntake final : public Intake {
 public:
  /// `host`: where the session comes from.
  MirrorIntake(MirrorVolumes& volumes, std::string host)
      : volumes_(volumes), host_(std::move(host)) {}
  ~MirrorIntake() override { close(); }

  Result<Welcome> open(const Hello& hello, std::function<void()> superseded) override;
  void close() override;
  Result<void> take(Incoming incoming) override;
  void upstream_stored(std::uint64_t) override {}
  void acks(std::vector<Ack>& out) const override;
  bool acks_receipt() const override;

 private:
  Result<MirrorVolumes::Volume*> entitled(const Hello& hello, const Hello::Stream& stream);
  Result<void> same_history(const MirrorVolumes::Volume& volume, const Hello::Stream& stream) const;
  Result<void> follows_last_ring(const MirrorVolumes::Volume& volume,
                                 const Hello::Stream& stream) const;
  Result<void> continues(const MirrorVolumes::Volume& volume, const Hello::Stream& stream) const;
  Result<MirrorVolumes::Volume*> take_over(const Hello& hello, const Hello::Stream& stream,
                                           const std::function<void()>& superseded);
  Result<void> settled(const MirrorVolumes::Volume& volume) const;
  void drop_known(Incoming& incoming);
  Result<void> accept(const Record& record);
  MirrorVolumes::Volume* mine(const Uuid& uuid);

  MirrorVolumes& volumes_;
  std::string host_;
  std::vector<MirrorVolumes::Volume*> streams_;
};

}  // namespace cascade
