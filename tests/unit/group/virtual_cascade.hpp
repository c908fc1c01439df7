// SPDX-License-Identifier: GPL-2.0-or-later
// A whole cascade in one thread, its application, and verbs to make it go on and to compare it.
#pragma once

#include "tests/double/virtual_node.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <array>
#include <random>

namespace cascade::test {

using std::chrono::milliseconds;

inline constexpr std::uint64_t copy_bytes = VirtualVolume::sectors * 512;
inline constexpr std::uint64_t writes = 60;
inline const std::array names{"p1", "p2", "h", "r"};

Config make_config(AckWhen hub_ack, FenceLevel fence);

std::vector<std::byte> new_journal(std::uint64_t bytes);

/// Two primaries, hub and remote; one volume each. What was written is remembered, to be compared.
class Cascade {
 public:
  Cascade(unsigned seed, AckWhen hub_ack, FenceLevel fence = FenceLevel::data,
          std::uint64_t remote_journal_bytes = journal_disk_bytes);
  ~Cascade();

  VirtualNode& node(const std::string& name) { return nodes_.at(name); }

  /// Writes to sector 0 of the volume what it has seen acknowledged of the other one, as an
  /// application on both would: the effect of that cause. Once its own last one is acknowledged.
  void depend(std::size_t which);

  /// What the node's copies hold once it has recovered by itself, its daemon being killed: an
  /// effect that is there without its cause, or empty.
  std::string effect_without_cause(const std::string& name);

  /// Gives the node a device for undo.
  void add_undo(const std::string& name, std::uint64_t bytes);

  /// Some handlers of some nodes, some time, some writes.
  void go_on();

  /// Goes on for less than so many steps, at every other one with a write that depends on others.
  void live(unsigned steps);

  /// A large write to each volume that has nothing under way: so a journal gets full. It stays in
  /// one part of the volume for some time, so that some parts are only in what was given up.
  void write_much();
  /// Whether the remote lacks what the hub's journal does not hold any more; nothing while the hub
  /// does not know.
  std::optional<bool> remote_behind();

  /// "promoting" or "promoted", or empty: the node follows.
  std::string takeover_state(const std::string& name);

  /// How far hub and remote are, for whoever has to find out why they are not further.
  std::string figures();

  /// The primary's machine loses power, with some of the writes that nobody has acknowledged, and
  /// is there again, its daemon not yet.
  void cut_primary(std::size_t which);

  /// The daemon stands still for so many steps, as after a SIGSTOP.
  void pause(const std::string& name, unsigned steps);
  /// What `from` sends does not arrive at `to`, until heal().
  void black_hole(const std::string& from, const std::string& to) { wires_.black_hole(from, to); }
  void heal() { wires_.heal(); }
  /// The volume grows by so many of its regions.
  void grow(std::size_t which, std::uint64_t regions) { volumes_[which].kernel->grow(regions); }
  /// Nobody knows any more what of the volume the hub has.
  void doubt(std::size_t which) { volumes_[which].kernel->doubt_all(); }
  /// The primary's module is one that can't compare.
  void without_comparison(std::size_t which) { volumes_[which].kernel->compares = false; }
  /// Regions that the primary has copied to the hub.
  unsigned copied(std::size_t which) const { return volumes_[which].kernel->copied; }
  std::uint64_t volume_bytes(std::size_t which) const {
    return volumes_[which].kernel->disk.size();
  }
  /// How often the primary went on alone.
  unsigned times_alone(std::size_t which) const { return volumes_[which].kernel->times_alone; }

  bool alone(std::size_t which) const { return volumes_[which].kernel->alone(); }

  /// Until every copy has everything; false if it does not come to that.
  bool drain();
  /// All nodes do what they have to do, for so long.
  void run_for(milliseconds time);

  /// Empty, or which copy is not what was written.
  std::string difference();

  /// One step of each node, and a little time; the same every time.
  void go_round();
  bool ready() const;
  /// As the group's hub-ack says.
  bool all_acknowledged();
  void write_to_each() {
    for (Volume& volume : volumes_) write_one(volume);
  }
  bool drained();
  void cut_when(std::function<bool()> cut) { wires_.cut = std::move(cut); }

  /// How often copies were found that had gone past a bracket.
  unsigned times_past() const { return times_past_; }
  std::uint64_t written() const { return volumes_[0].count + volumes_[1].count; }
  unsigned draw() { return static_cast<unsigned>(lots_()); }

 private:
  struct Volume {
    std::string name;
    Uuid uuid;
    VirtualVolume* kernel;
    std::uint64_t seq = 0;    // its last write
    std::uint64_t count = 0;  // of those that do not depend on others
    std::uint64_t much = 0;   // write_much()
    std::uint64_t chain = 0;  // volume_seq of the last dependent write
    std::uint64_t chain_length = 0;
    unsigned times_alone = 0;
    std::uint64_t known = 0;
  };

  /// As the application of the volume sees it, by the group's hub-ack.
  std::uint64_t acknowledged(Volume& volume);
  /// What others may know of the volume's chain: what was acknowledged, or what its application
  /// found on the disk when the volume was there again.
  std::uint64_t seen(Volume& volume);

  void add_volume(const std::string& primary, const Uuid& uuid, const std::string& name);

  void write_one(Volume& volume);

  void pass(milliseconds time);

  /// While a bracket is open its node holds the same moment, byte for byte, whenever one looks.
  std::string other_than_before(const std::string& name, VirtualDisks::Images& images);

  /// Brings copies that went past a bracket back to its limit; empty, or why that can't be.
  std::string restore(VirtualDisks::Images& images);

  std::mt19937 lots_;
  Config config_;
  Wires wires_;
  std::map<std::string, VirtualNode> nodes_;
  VirtualDisks::Images looked_at_;  // by effect_without_cause()
  std::vector<Volume> volumes_;
  std::map<std::string, std::array<std::uint64_t, 2>> seen_on_;
  std::uint64_t rounds_ = 0;
  std::string paused_;
  unsigned paused_for_ = 0;
  unsigned times_past_ = 0;
  std::map<std::pair<std::string, std::uint64_t>, VirtualDisks::Images> at_limit_;
};

}  // namespace cascade::test
