// SPDX-License-Identifier: GPL-2.0-or-later
//
// A machine of a cascade in one thread of a test: disks and rings that outlive the daemon, wires to
// other machines, and the daemon on a loop of its own, which can be destroyed at any moment, as
// kill -9 or a loss of power would, while the others go on.
#pragma once

#include "daemon/io/loop.hpp"
#include "daemon/keeper.hpp"
#include "tests/double/memory_disk.hpp"
#include "tests/double/memory_stream.hpp"
#include "tests/double/ring_double.hpp"
#include "tests/double/virtual_clock.hpp"

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace cascade::test {

/// What connects the machines.
struct Wires {
  std::map<std::string, class VirtualListener*> listeners;  // who can be reached, by host
  std::function<bool()> cut;  // of every connection: MemoryStream::cut_when()

  /// Nothing that `from` sends arrives at `to` any more; connections stay as they are.
  void black_hole(const std::string& from, const std::string& to) { holes_.emplace(from, to); }
  void heal();
  bool swallows(const std::string& from, const std::string& to) const {
    return holes_.contains({from, to});
  }
  /// An end of a connection, whose peer is `from`.
  void lay(MemoryStream& end, const std::string& from, const std::string& to);

 private:
  std::set<std::pair<std::string, std::string>> holes_;
  std::list<std::weak_ptr<MemoryStream::Pipe>> pipes_;
};

class VirtualListener final : public Listener {
 public:
  VirtualListener(const Executor& executor, Wires& wires, std::string host);
  ~VirtualListener() override { close(); }

  Task<Result<std::unique_ptr<Stream>>> accept() override;
  /// The caller's end of the last connection.
  MemoryStream* last_caller = nullptr;
  /// So many times accept() fails before it takes whoever waits.
  unsigned failures = 0;

  bool is_loopback() const override { return false; }
  void close() override;

  /// The caller's end of a new connection from `host`.
  std::unique_ptr<Stream> connect(const Executor& executor, const std::string& host);

 private:
  Executor executor_;
  Wires& wires_;
  std::string host_;
  Signal came_;
  std::list<std::unique_ptr<Stream>> waiting_;
  bool closed_ = false;
};

class VirtualNet final : public Net {
 public:
  VirtualNet(const Executor& executor, Wires& wires, std::string host)
      : executor_(executor), wires_(wires), host_(std::move(host)) {}

  Task<Result<std::unique_ptr<Listener>>> listen(const Address&) override;
  Task<Result<std::unique_ptr<Stream>>> connect(const Address& address,
                                                std::chrono::milliseconds) override;
  Result<std::unique_ptr<Stream>> adopt(std::unique_ptr<Stream> stream) override { return stream; }

 private:
  Executor executor_;
  Wires& wires_;
  std::string host_;
};

/// Disks by path; what is on them stays when the daemon goes.
class VirtualDisks final : public DiskHost {
 public:
  using Images = std::map<std::string, std::vector<std::byte>>;

  /// `writes_max`: of each disk, each time that it is opened; all later ones fail.
  VirtualDisks(const Executor& executor, Images& images, const std::uint64_t& writes_max)
      : executor_(executor), images_(images), writes_max_(writes_max) {}

  /// What of the disk fails, from now on, and whenever it is opened.
  void fail(const std::string& path, MemoryDisk::Fault fault);
  unsigned flushes_lost() const;

  /// Under whoever has it open.
  void grow(const std::string& path, std::uint64_t bytes) { open_.at(path)->grow(bytes); }

  /// From now on a disk that goes loses what was not flushed.
  void cut_power() { power_cut_ = true; }

  Result<std::unique_ptr<Disk>> open(const std::string& path, bool) override;

 private:
  struct Held;

  Executor executor_;
  Images& images_;
  const std::uint64_t& writes_max_;
  std::map<std::string, MemoryDisk::Fault> faults_;
  unsigned flushes_lost_ = 0;
  std::map<std::string, MemoryDisk*> open_;
  bool power_cut_ = false;
};

/// The kernel's side of one volume, and its disk. The machine may lose power: the disk then has
/// what was written up to some moment, and what may differ from the hub is known by its marks.
class VirtualVolume {
 public:
  static constexpr std::uint64_t sectors = 2816;       // some regions of a hub's bitmap
  static constexpr std::uint64_t region_sectors = 16;  // of one mark: smaller than the module's

  explicit VirtualVolume(const Uuid& uuid);
  RingDouble& ring() { return *ring_; }
  std::shared_ptr<RingDouble> held_ring() const { return ring_; }
  RingShape shape;
  cascade_fence fence = CASCADE_FENCE_DATA;
  Duration now{};             // CLOCK_BOOTTIME of the machine
  Signal* written = nullptr;  // of the daemon that is attached
  Signal* lost = nullptr;     // likewise
  unsigned times_alone = 0;
  bool resync_wanted = false;
  std::uint64_t resync_until = Ring::no_limit;  // sector
  bool compares = true;                         // else it is a module that can't
  bool verifies = true;                         // likewise
  unsigned doubts = 0;
  unsigned copied = 0;  // regions
  std::function<void()> peek_takes = [] {};
  std::vector<std::byte> disk;

  bool writable() const { return alone_ || ring_->started(); }
  bool alone() const { return alone_; }

  /// Its number; zero while the volume is alone.
  std::uint64_t write(std::uint64_t sector, std::span<const std::byte> payload);

  /// Everything in memory is gone, and with it the last `lost` of the writes that nobody has
  /// acknowledged; no daemon is attached.
  void lose_power(std::uint64_t acknowledged, std::size_t lost);

  /// The daemon's word for the hub's. False if it comes too late.
  bool lease(Duration duration, std::uint8_t level);
  void start(std::uint64_t base);
  /// The daemon's word that the witness has granted it. False if it comes too early.
  bool go_alone_as_granted();

  /// What the kernel does by itself: a lease runs out, marks of what is stored go, one more region
  /// is copied.
  void step();
  bool in_sync() const { return out_of_sync_.empty(); }
  Peeked peek(std::uint64_t from, std::span<std::byte> buffer) const;
  bool same(const Peeked& region);
  Verifying verify(std::uint64_t sector, std::uint32_t bytes, bool content);
  /// All of it may differ from the hub's copy.
  void doubt_all();

  /// Under its daemon. What is new is out of sync.
  void grow(std::uint64_t regions);

 private:
  struct Undo {
    std::uint64_t seq, sector;
    std::vector<std::byte> before;
  };

  void new_ring();
  void words();
  /// What the hub has not stored is for the disk and the marks to know.
  void go_alone();
  void tell() {
    if (written != nullptr) written->notify();
  }
  void copy(std::uint64_t region);

  Uuid uuid_;
  std::shared_ptr<RingDouble> ring_;
  bool alone_ = false;
  std::optional<Duration> lease_until_;
  std::uint8_t leased_fence_ = 0;
  std::map<std::uint64_t, std::uint64_t> marks_;  // region, and its last write
  std::set<std::uint64_t> out_of_sync_;
  std::map<std::uint64_t, std::uint64_t> in_flight_;  // region, and the record that copies it
  std::deque<Undo> undo_;
};

class VirtualRings final : public RingHost {
 public:
  using Volumes = std::map<Uuid, std::unique_ptr<VirtualVolume>>;

  VirtualRings(const Executor& executor, Volumes& volumes)
      : executor_(executor), volumes_(volumes) {}

  Result<std::unique_ptr<Ring>> attach(const Uuid& uuid) override;

 private:
  struct Attached;

  Executor executor_;
  Volumes& volumes_;
};

class VirtualNode {
 public:
  /// `config` and `wires` outlive it.
  VirtualNode(const Config& config, Wires& wires, std::string name);
  ~VirtualNode();

  VirtualDisks::Images images;
  VirtualRings::Volumes volumes;
  /// For the next start(): so many writes of each of its disks go well.
  std::uint64_t writes_max = MemoryDisk::never;

  /// Those that are opened from now on fail no more.
  void heal_disks() { writes_max = MemoryDisk::never; }

  void fail_disk(const std::string& path, MemoryDisk::Fault fault);
  /// By its daemon that runs.
  unsigned flushes_lost() const;

  void grow_disk(const std::string& path, std::uint64_t bytes);

  bool runs() const { return daemon_ != nullptr; }
  GroupKeeper& group();
  std::uint64_t realtime_ns() const { return VirtualClock::realtime_ns(now_); }

  void start();

  /// Handlers that its loops have run.
  std::uint64_t steps() const { return steps_; }
  /// One handler of its loop; whether there was any.
  bool step();
  void advance(Duration duration);

  /// As SIGSTOP and SIGCONT: what has arrived meanwhile may be looked at before any time-out.
  void pause(bool paused) { paused_ = paused; }

  /// Nothing of it runs any more, and nothing of it says so.
  void kill(bool power);

 private:
  struct Daemon;

  const Config& config_;
  Wires& wires_;
  std::string name_;
  TimePoint now_{};
  bool paused_ = false;
  std::uint64_t steps_ = 0;
  // Others may still hold ends of its wires: loops go last.
  std::list<std::unique_ptr<Loop>> loops_;
  std::unique_ptr<Daemon> daemon_;
};

}  // namespace cascade::test
