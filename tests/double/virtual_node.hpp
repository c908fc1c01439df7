// SPDX-License-Identifier: GPL-2.0-or-later
//
// A machine of a cascade in one thread of a test: disks and rings that outlive the daemon, wires to
// other machines, and the daemon on a loop of its own, which can be destroyed at any moment, as
// kill -9 or a loss of power would, while the others go on.
#pragma once

#include "daemon/io/loop.hpp"
#include "daemon/keeper.hpp"
#include "daemon/path/door.hpp"
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
  void heal() {
    holes_.clear();
    for (const auto& held : pipes_)
      if (const auto pipe = held.lock()) pipe->notify();
    std::erase_if(pipes_, [](const auto& pipe) { return pipe.expired(); });
  }
  bool swallows(const std::string& from, const std::string& to) const {
    return holes_.contains({from, to});
  }
  /// An end of a connection, whose peer is `from`.
  void lay(MemoryStream& end, const std::string& from, const std::string& to) {
    end.cut_when(cut);
    end.hold_when([this, from, to] { return swallows(from, to); });
    pipes_.push_back(end.in_pipe());
  }

 private:
  std::set<std::pair<std::string, std::string>> holes_;
  std::list<std::weak_ptr<MemoryStream::Pipe>> pipes_;
};

class VirtualListener final : public Listener {
 public:
  VirtualListener(const Executor& executor, Wires& wires, std::string host)
      : executor_(executor), wires_(wires), host_(std::move(host)), came_(executor) {
    wires_.listeners[host_] = this;
  }
  ~VirtualListener() override { close(); }

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    while (waiting_.empty() && !closed_) co_await came_.wait();
    if (closed_) co_return Error{Errc::closed, "the listener is closed"};
    if (failures > 0) {
      failures -= 1;
      co_return Error{Errc::io, "accept: Too many open files"};
    }
    auto stream = std::move(waiting_.front());
    waiting_.pop_front();
    co_return stream;
  }
  /// The caller's end of the last connection.
  MemoryStream* last_caller = nullptr;
  /// So many times accept() fails before it takes whoever waits.
  unsigned failures = 0;

  bool is_loopback() const override { return false; }
  void close() override {
    closed_ = true;
    auto& listeners = wires_.listeners;
    if (const auto at = listeners.find(host_); at != listeners.end() && at->second == this)
      listeners.erase(at);
    came_.notify();
  }

  /// The caller's end of a new connection from `host`.
  std::unique_ptr<Stream> connect(const Executor& executor, const std::string& host) {
    auto [theirs, ours] = MemoryStream::pair(executor, executor_, host, host_);
    wires_.lay(*ours, host, host_);
    wires_.lay(*theirs, host_, host);
    last_caller = theirs.get();
    waiting_.push_back(std::move(ours));
    came_.notify();
    return std::move(theirs);
  }

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

  Task<Result<std::unique_ptr<Listener>>> listen(const Address&) override {
    co_return std::make_unique<VirtualListener>(executor_, wires_, host_);
  }
  Task<Result<std::unique_ptr<Stream>>> connect(const Address& address,
                                                std::chrono::milliseconds) override {
    co_await asio::post(executor_, use_task);
    const auto there = wires_.listeners.find(address.host);
    if (wires_.swallows(host_, address.host) || wires_.swallows(address.host, host_))
      co_return Error{Errc::closed, "Connection timed out"};
    if (there == wires_.listeners.end()) co_return Error{Errc::closed, "Connection refused"};
    co_return there->second->connect(executor_, host_);
  }
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

  /// Whether writes to the disk fail, from now on.
  void fail(const std::string& path, bool fails) {
    if (fails)
      failing_.insert(path);
    else
      failing_.erase(path);
    if (const auto disk = open_.find(path); disk != open_.end())
      disk->second->fail_after(writes_left(path));
  }

  /// Under whoever has it open.
  void grow(const std::string& path, std::uint64_t bytes) { open_.at(path)->grow(bytes); }

  /// From now on a disk that goes loses what was not flushed.
  void cut_power() { power_cut_ = true; }

  Result<std::unique_ptr<Disk>> open(const std::string& path, bool) override {
    const auto image = images_.find(path);
    if (image == images_.end()) return Error{Errc::not_found, path + ": no such disk"};
    return std::unique_ptr<Disk>(std::make_unique<Held>(*this, image->second, path));
  }

 private:
  std::uint64_t writes_left(const std::string& path) const {
    return failing_.contains(path) ? 0 : writes_max_;
  }

  struct Held final : MemoryDisk {
    Held(VirtualDisks& host, std::vector<std::byte>& home, const std::string& path)
        : MemoryDisk(host.executor_, path, std::move(home)), host(host), home(home) {
      fail_after(host.writes_left(path));
      host.open_[path] = this;
      slow_down(8);  // than a connection: what is received is not stored at once
    }
    Result<void> reopen() override {
      fail_after_reopening(host.writes_left(path()));
      return MemoryDisk::reopen();
    }
    ~Held() override {
      host.open_.erase(path());
      if (host.power_cut_) cut_power();
      home = std::move(image());
    }
    VirtualDisks& host;
    std::vector<std::byte>& home;
  };

  Executor executor_;
  Images& images_;
  const std::uint64_t& writes_max_;
  std::set<std::string> failing_;
  std::map<std::string, MemoryDisk*> open_;
  bool power_cut_ = false;
};

/// The kernel's side of one volume, and its disk. The machine may lose power: the disk then has
/// what was written up to some moment, and what may differ from the hub is known by its marks.
class VirtualVolume {
 public:
  static constexpr std::uint64_t sectors = 2816;       // some regions of a hub's bitmap
  static constexpr std::uint64_t region_sectors = 16;  // of one mark: smaller than the module's

  explicit VirtualVolume(const Uuid& uuid) : disk(sectors * 512), uuid_(uuid) {
    shape.sectors = sectors;
    shape.block = 512;
    shape.generation = make_uuid();
    new_ring();
  }
  RingDouble& ring() { return *ring_; }
  std::shared_ptr<RingDouble> held_ring() const { return ring_; }
  RingShape shape;
  cascade_fence fence = CASCADE_FENCE_DATA;
  Duration now{};             // CLOCK_BOOTTIME of the machine
  Signal* written = nullptr;  // of the daemon that is attached
  Signal* lost = nullptr;     // likewise
  unsigned times_alone = 0;
  bool resync_wanted = false;
  std::vector<std::byte> disk;

  bool writable() const { return alone_ || ring_->started(); }
  bool alone() const { return alone_; }

  /// Its number; zero while the volume is alone.
  std::uint64_t write(std::uint64_t sector, std::span<const std::byte> payload) {
    const auto at = disk.begin() + static_cast<std::ptrdiff_t>(sector * 512);
    const auto regions = [&](auto note) {
      for (auto region = sector / region_sectors;
           region <= (sector + payload.size() / 512 - 1) / region_sectors; ++region)
        note(region);
    };
    if (alone_) {
      std::copy(payload.begin(), payload.end(), at);
      regions([&](std::uint64_t region) { out_of_sync_.insert(region); });
      words();
      return 0;
    }
    const auto end = at + static_cast<std::ptrdiff_t>(payload.size());
    const auto seq = ring_->write(sector, payload);
    undo_.push_back({seq, sector, {at, end}});
    std::copy(payload.begin(), payload.end(), at);
    regions([&](std::uint64_t region) { marks_[region] = seq; });
    tell();
    return seq;
  }

  /// Everything in memory is gone, and with it the last `lost` of the writes that nobody has
  /// acknowledged; no daemon is attached.
  void lose_power(std::uint64_t acknowledged, std::size_t lost) {
    for (; lost > 0 && !undo_.empty() && undo_.back().seq > acknowledged; --lost) {
      const auto& [seq, sector, before] = undo_.back();
      std::copy(before.begin(), before.end(),
                disk.begin() + static_cast<std::ptrdiff_t>(sector * 512));
      undo_.pop_back();
    }
    for (const auto& [region, seq] : marks_) out_of_sync_.insert(region);
    shape.clean = false;
    shape.numbered = shape.numbered || ring_->started();
    new_ring();
  }

  /// The daemon's word for the hub's. False if it comes too late.
  bool lease(Duration duration, std::uint8_t level) {
    if (alone_) return false;
    lease_until_ = now + duration;
    leased_fence_ = level;
    return true;
  }
  void start(std::uint64_t base) {
    ring_->start(base);
    alone_ = false;
    words();
  }

  /// What the kernel does by itself: a lease runs out, marks of what is stored go, one more region
  /// is copied.
  void step() {
    const std::uint64_t stored = ring_->stored();
    std::erase_if(marks_, [&](const auto& mark) { return mark.second <= stored; });
    while (!undo_.empty() && undo_.front().seq <= stored) undo_.pop_front();
    for (const auto& [region, seq] : in_flight_)
      if (seq <= stored) out_of_sync_.erase(region);
    std::erase_if(in_flight_, [&](const auto& flight) { return flight.second <= stored; });
    words();
    if (lease_until_ && now >= *lease_until_ && fence == CASCADE_FENCE_NEVER &&
        leased_fence_ == fence && ring_->published() > stored)
      return go_alone();
    if (!resync_wanted || !ring_->started()) return;
    for (const std::uint64_t region : out_of_sync_)
      if (!in_flight_.contains(region)) return copy(region);
    if (!out_of_sync_.empty()) return;
    ring_->write(0, {}, CASCADE_OP_NOOP, CASCADE_FLAG_RESYNC);
    resync_wanted = false;
    tell();
  }
  bool in_sync() const { return out_of_sync_.empty(); }

  /// Under its daemon. What is new is out of sync.
  void grow(std::uint64_t regions) {
    const std::uint64_t before = disk.size() / 512 / region_sectors;
    disk.resize(disk.size() + regions * region_sectors * 512, std::byte{0x5a});
    for (std::uint64_t region = before; region < before + regions; ++region)
      out_of_sync_.insert(region);
    words();
  }

 private:
  struct Undo {
    std::uint64_t seq, sector;
    std::vector<std::byte> before;
  };

  void new_ring() {
    ring_ = std::make_shared<RingDouble>(uuid_, 1024, 4 << 20);
    lease_until_.reset();
    shape.incarnation = make_uuid();
    marks_.clear();
    in_flight_.clear();
    undo_.clear();
    resync_wanted = false;
    words();
  }
  void words() {
    ring_->kernel_words().out_of_sync = out_of_sync_.size() * region_sectors;
    ring_->kernel_words().fence = fence;
    ring_->kernel_words().sectors = disk.size() / 512;
    ring_->kernel_words().alone_ns = alone_ ? 1 : 0;
  }
  /// What the hub has not stored is for the disk and the marks to know.
  void go_alone() {
    for (const auto& [region, seq] : marks_) out_of_sync_.insert(region);
    alone_ = true;
    times_alone += 1;
    shape.clean = false;
    shape.numbered = true;
    shape.parent = std::exchange(shape.generation, make_uuid());
    new_ring();
    if (lost != nullptr) lost->notify();
    tell();
  }
  void tell() {
    if (written != nullptr) written->notify();
  }
  void copy(std::uint64_t region) {
    const auto at = std::span(disk).subspan(region * region_sectors * 512, region_sectors * 512);
    in_flight_[region] =
        ring_->write(region * region_sectors, at, CASCADE_OP_WRITE, CASCADE_FLAG_RESYNC);
    tell();
  }

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

  Result<std::unique_ptr<Ring>> attach(const Uuid& uuid) override {
    const auto volume = volumes_.find(uuid);
    if (volume == volumes_.end()) return Error{Errc::not_found, "the device does not exist"};
    return std::unique_ptr<Ring>(std::make_unique<Attached>(executor_, *volume->second));
  }

 private:
  struct Attached final : Ring {
    Attached(const Executor& executor, VirtualVolume& v)
        : volume(v),
          ring(v.held_ring()),
          memory(ring->attach()),
          view_(memory),
          changed(executor),
          ended(executor) {
      volume.written = &changed;
      volume.lost = &ended;
      if (started()) (void)view_.rewind_to(ring->stored());
    }
    ~Attached() override {
      if (volume.written != &changed) return;
      volume.written = volume.lost = nullptr;
      volume.resync_wanted = false;
    }
    /// The volume has gone on without this ring.
    bool is_lost() const { return ring != volume.held_ring(); }

    RingView& view() override { return view_; }
    RingShape shape() const override { return volume.shape; }
    bool started() const override { return ring->started(); }
    Result<void> start(std::uint64_t base, const Uuid& journal) override {
      if (is_lost()) return Error{Errc::io, "the ring is lost"};
      volume.start(base);
      volume.shape.journal = journal;
      volume.shape.end_seq = base;
      return view_.rewind_to(base);
    }
    Result<void> doorbell() override {
      if (is_lost()) return Error{Errc::io, "the ring is lost"};
      ring->doorbell();
      return {};
    }
    Result<void> lease(Duration duration, std::uint8_t fence) override {
      if (is_lost() || !volume.lease(duration, fence))
        return Error{Errc::io, "the volume is alone"};
      return {};
    }
    Task<Result<void>> readable() override {
      while (!closed && !is_lost() && ring->published() <= memory.daemon->consumed)
        co_await changed.wait();
      if (closed || is_lost()) co_return Error{Errc::closed, "closed"};
      co_return Result<void>{};
    }
    Task<Error> lost() override {
      while (!closed && !is_lost()) co_await ended.wait();
      co_return Error{Errc::closed, is_lost() ? "the volume goes on alone" : "closed"};
    }
    void close() override {
      closed = true;
      changed.notify();
      ended.notify();
    }
    Result<void> resync(bool run) override {
      if (is_lost()) return Error{Errc::io, "the ring is lost"};
      volume.resync_wanted = run;
      return {};
    }
    Result<void> alone() override { return Error{Errc::invalid, "no test does this"}; }
    void report_link(LinkState) override {}

    VirtualVolume& volume;
    std::shared_ptr<RingDouble> ring;
    RingMemory memory;
    RingView view_;
    Signal changed, ended;
    bool closed = false;
  };

  Executor executor_;
  Volumes& volumes_;
};

class VirtualNode {
 public:
  /// `config` and `wires` outlive it.
  VirtualNode(const Config& config, Wires& wires, std::string name)
      : config_(config), wires_(wires), name_(std::move(name)) {}
  ~VirtualNode() {
    if (daemon_) kill(false);
  }

  VirtualDisks::Images images;
  VirtualRings::Volumes volumes;
  /// For the next start(): so many writes of each of its disks go well.
  std::uint64_t writes_max = MemoryDisk::never;

  /// Those that are opened from now on fail no more.
  void heal_disks() { writes_max = MemoryDisk::never; }

  void fail_disk(const std::string& path, bool fails) { daemon_->disks.fail(path, fails); }

  void grow_disk(const std::string& path, std::uint64_t bytes) { daemon_->disks.grow(path, bytes); }

  bool runs() const { return daemon_ != nullptr; }
  GroupKeeper& group() { return daemon_->group; }
  std::uint64_t realtime_ns() const { return VirtualClock::realtime_ns(now_); }

  void start() { daemon_ = std::make_unique<Daemon>(*this); }

  /// Handlers that its loops have run.
  std::uint64_t steps() const { return steps_; }
  /// One handler of its loop; whether there was any.
  bool step() {
    if (!daemon_ || paused_) return false;
    loop().restart();
    const bool any = loop().poll_one() > 0;
    steps_ += any ? 1 : 0;
    return any;
  }
  void advance(Duration duration) {
    now_ += duration;
    for (auto& [uuid, volume] : volumes) volume->now = now_.time_since_epoch();
    if (!daemon_) return;
    if (paused_)
      daemon_->clock.move(duration);
    else
      daemon_->clock.advance(duration);
  }

  /// As SIGSTOP and SIGCONT: what has arrived meanwhile may be looked at before any time-out.
  void pause(bool paused) { paused_ = paused; }

  /// Nothing of it runs any more, and nothing of it says so.
  void kill(bool power) {
    if (power) daemon_->disks.cut_power();
    paused_ = false;
    loop().abandon();
    daemon_.reset();
  }

 private:
  struct Daemon {
    explicit Daemon(VirtualNode& n)
        : loop(*n.loops_.emplace_back(std::make_unique<Loop>())),
          clock(loop.get_executor(), n.now_),
          net(loop.get_executor(), n.wires_, n.name_),
          disks(loop.get_executor(), n.images, n.writes_max),
          rings(loop.get_executor(), n.volumes),
          group({loop.get_executor(), clock, net, disks, rings}, n.config_,
                n.config_.groups.front(), n.name_),
          door(loop.get_executor(), clock, {},
               [this](auto& stream, auto& hello) -> Result<void> {
                 group.accept(std::move(stream), std::move(hello));
                 return {};
               }),
          listener(loop.get_executor(), n.wires_, n.name_),
          crew(loop.get_executor()) {
      crew.add(group.run());
      crew.add(door.run(listener));
    }
    Loop& loop;
    VirtualClock clock;
    VirtualNet net;
    VirtualDisks disks;
    VirtualRings rings;
    GroupKeeper group;
    Door door;
    VirtualListener listener;
    Crew crew;
  };

  Loop& loop() { return daemon_->loop; }

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
