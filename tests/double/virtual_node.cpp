// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/double/virtual_node.hpp"

#include "daemon/path/door.hpp"
#include "tests/double/direct_worker.hpp"

#include <boost/asio/post.hpp>

namespace cascade::test {

void Wires::heal() {
  holes_.clear();
  for (const auto& held : pipes_)
    if (const auto pipe = held.lock()) pipe->notify();
  std::erase_if(pipes_, [](const auto& pipe) { return pipe.expired(); });
}

void Wires::lay(MemoryStream& end, const std::string& from, const std::string& to) {
  end.cut_when(cut);
  end.hold_when([this, from, to] { return swallows(from, to); });
  pipes_.push_back(end.in_pipe());
}

VirtualListener::VirtualListener(const Executor& executor, Wires& wires, std::string host)
    : executor_(executor), wires_(wires), host_(std::move(host)), came_(executor) {
  wires_.listeners[host_] = this;
}

Task<Result<std::unique_ptr<Stream>>> VirtualListener::accept() {
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

void VirtualListener::close() {
  closed_ = true;
  auto& listeners = wires_.listeners;
  if (const auto at = listeners.find(host_); at != listeners.end() && at->second == this)
    listeners.erase(at);
  came_.notify();
}

std::unique_ptr<Stream> VirtualListener::connect(const Executor& executor,
                                                 const std::string& host) {
  auto [theirs, ours] = MemoryStream::pair(executor, executor_, host, host_);
  wires_.lay(*ours, host, host_);
  wires_.lay(*theirs, host_, host);
  last_caller = theirs.get();
  waiting_.push_back(std::move(ours));
  came_.notify();
  return std::move(theirs);
}

Task<Result<std::unique_ptr<Listener>>> VirtualNet::listen(const Address&) {
  co_return std::make_unique<VirtualListener>(executor_, wires_, host_);
}

Task<Result<std::unique_ptr<Stream>>> VirtualNet::connect(const Address& address,
                                                          std::chrono::milliseconds) {
  co_await asio::post(executor_, use_task);
  const auto there = wires_.listeners.find(address.host);
  if (wires_.swallows(host_, address.host) || wires_.swallows(address.host, host_))
    co_return Error{Errc::closed, "Connection timed out"};
  if (there == wires_.listeners.end()) co_return Error{Errc::closed, "Connection refused"};
  co_return there->second->connect(executor_, host_);
}

void VirtualDisks::fail(const std::string& path, MemoryDisk::Fault fault) {
  faults_[path] = fault;
  if (const auto disk = open_.find(path); disk != open_.end()) disk->second->fail(fault);
}

unsigned VirtualDisks::flushes_lost() const {
  unsigned count = flushes_lost_;
  for (const auto& [path, disk] : open_) count += disk->flushes_lost();
  return count;
}

struct VirtualDisks::Held final : MemoryDisk {
  Held(VirtualDisks& host, std::vector<std::byte>& home, const std::string& path)
      : MemoryDisk(host.executor_, path, std::move(home)), host(host), home(home) {
    fail_after(host.writes_max_);
    fail(host.faults_[path]);
    host.open_[path] = this;
    slow_down(8);  // than a connection: what is received is not stored at once
  }
  Result<void> reopen() override {
    fail_after_reopening(host.writes_max_);
    return MemoryDisk::reopen();
  }
  ~Held() override {
    host.open_.erase(path());
    host.faults_[path()] = fault();
    host.flushes_lost_ += flushes_lost();
    if (host.power_cut_) cut_power();
    home = std::move(image());
  }
  VirtualDisks& host;
  std::vector<std::byte>& home;
};

Result<std::unique_ptr<Disk>> VirtualDisks::open(const std::string& path, bool) {
  const auto image = images_.find(path);
  if (image == images_.end()) return Error{Errc::not_found, path + ": no such disk"};
  return std::unique_ptr<Disk>(std::make_unique<Held>(*this, image->second, path));
}

VirtualVolume::VirtualVolume(const Uuid& uuid) : disk(sectors * 512), uuid_(uuid) {
  shape.sectors = sectors;
  shape.block = 512;
  shape.generation = make_uuid();
  new_ring();
}

std::uint64_t VirtualVolume::write(std::uint64_t sector, std::span<const std::byte> payload) {
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

void VirtualVolume::lose_power(std::uint64_t acknowledged, std::size_t lost) {
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

bool VirtualVolume::lease(Duration duration, std::uint8_t level) {
  if (alone_) return false;
  lease_until_ = now + duration;
  leased_fence_ = level;
  return true;
}

bool VirtualVolume::go_alone_as_granted() {
  if (fence != CASCADE_FENCE_WITNESS || leased_fence_ != fence || alone_ || !lease_until_ ||
      now < *lease_until_)
    return false;
  go_alone();
  return true;
}

void VirtualVolume::start(std::uint64_t base) {
  ring_->start(base);
  alone_ = false;
  words();
}

void VirtualVolume::step() {
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
    if (region * region_sectors < resync_until && !in_flight_.contains(region)) return copy(region);
  if (!out_of_sync_.empty() || resync_until != Ring::no_limit) return;
  ring_->write(0, {}, CASCADE_OP_NOOP, CASCADE_FLAG_RESYNC);
  resync_wanted = false;
  tell();
}

Peeked VirtualVolume::peek(std::uint64_t from, std::span<std::byte> buffer) const {
  const auto region = out_of_sync_.lower_bound(from / region_sectors);
  if (region == out_of_sync_.end()) return {};
  const std::uint64_t sector = *region * region_sectors;
  const auto content = std::span(disk).subspan(sector * 512, region_sectors * 512);
  std::copy(content.begin(), content.end(), buffer.begin());
  return {Peeked::Found::region, sector, sector + region_sectors,
          static_cast<std::uint32_t>(content.size()), doubts};
}

bool VirtualVolume::same(const Peeked& region) {
  if (region.doubts != doubts) return false;
  out_of_sync_.erase(region.sector / region_sectors);
  words();
  return true;
}

Verifying VirtualVolume::verify(std::uint64_t sector, std::uint32_t bytes, bool content) {
  using Step = Verifying::Step;
  const std::uint64_t last = sector + bytes / 512 - 1;
  const auto doubted = out_of_sync_.lower_bound(sector / region_sectors);
  if (doubted != out_of_sync_.end() && *doubted <= last / region_sectors)
    return {Step::out_of_sync, 0};
  const auto held = std::span(disk).subspan(sector * 512, bytes);
  const std::uint64_t seq = content ? ring_->write(sector, held) : ring_->write_sum(sector, held);
  tell();
  return {Step::sent, seq};
}

void VirtualVolume::doubt_all() {
  for (std::uint64_t region = 0; region < disk.size() / 512 / region_sectors; ++region)
    out_of_sync_.insert(region);
  ++doubts;
  words();
}

void VirtualVolume::grow(std::uint64_t regions) {
  const std::uint64_t before = disk.size() / 512 / region_sectors;
  disk.resize(disk.size() + regions * region_sectors * 512, std::byte{0x5a});
  for (std::uint64_t region = before; region < before + regions; ++region)
    out_of_sync_.insert(region);
  words();
}

void VirtualVolume::new_ring() {
  ring_ = std::make_shared<RingDouble>(uuid_, 1024, 4 << 20);
  lease_until_.reset();
  shape.incarnation = make_uuid();
  marks_.clear();
  in_flight_.clear();
  undo_.clear();
  resync_wanted = false;
  words();
}

void VirtualVolume::words() {
  ring_->kernel_words().out_of_sync = out_of_sync_.size() * region_sectors;
  ring_->kernel_words().fence = fence;
  ring_->kernel_words().sectors = disk.size() / 512;
  ring_->kernel_words().alone_ns = alone_ ? 1 : 0;
}

void VirtualVolume::go_alone() {
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

void VirtualVolume::copy(std::uint64_t region) {
  const auto at = std::span(disk).subspan(region * region_sectors * 512, region_sectors * 512);
  ++copied;
  in_flight_[region] =
      ring_->write(region * region_sectors, at, CASCADE_OP_WRITE, CASCADE_FLAG_RESYNC);
  tell();
}

struct VirtualRings::Attached final : Ring {
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
    if (is_lost() || !volume.lease(duration, fence)) return Error{Errc::io, "the volume is alone"};
    return {};
  }
  Result<void> alone() override {
    if (is_lost() || !volume.go_alone_as_granted())
      return Error{Errc::io, "the lease is not over"};
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
  Result<void> resync(bool run, std::uint64_t until) override {
    if (is_lost()) return Error{Errc::io, "the ring is lost"};
    volume.resync_wanted = run;
    volume.resync_until = until;
    return {};
  }
  bool can_compare() const override { return volume.compares; }
  Task<Result<Peeked>> peek(std::uint64_t from, std::span<std::byte> buffer) override {
    if (is_lost()) co_return Error{Errc::io, "the ring is lost"};
    volume.peek_takes();
    co_return volume.peek(from, buffer);
  }
  Result<void> same(const Peeked& region) override {
    if (is_lost() || !volume.same(region)) return Error{Errc::io, "it is doubted"};
    return {};
  }
  bool can_verify() const override { return volume.verifies; }
  Task<Result<Verifying>> verify(std::uint64_t sector, std::uint32_t bytes, bool content) override {
    if (is_lost()) co_return Error{Errc::io, "the ring is lost"};
    co_return volume.verify(sector, bytes, content);
  }
  void report_link(LinkState) override {}

  VirtualVolume& volume;
  std::shared_ptr<RingDouble> ring;
  RingMemory memory;
  RingView view_;
  Signal changed, ended;
  bool closed = false;
};

Result<std::unique_ptr<Ring>> VirtualRings::attach(const Uuid& uuid) {
  const auto volume = volumes_.find(uuid);
  if (volume == volumes_.end()) return Error{Errc::not_found, "the device does not exist"};
  return std::unique_ptr<Ring>(std::make_unique<Attached>(executor_, *volume->second));
}

struct VirtualNode::Daemon {
  explicit Daemon(VirtualNode& n)
      : loop(*n.loops_.emplace_back(std::make_unique<Loop>())),
        clock(loop.get_executor(), n.now_),
        net(loop.get_executor(), n.wires_, n.name_),
        disks(loop.get_executor(), n.images, n.writes_max),
        rings(loop.get_executor(), n.volumes),
        group({loop.get_executor(), clock, net, disks, rings, worker}, n.config_,
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
  DirectWorker worker;
  GroupKeeper group;
  Door door;
  VirtualListener listener;
  Crew crew;
};

VirtualNode::VirtualNode(const Config& config, Wires& wires, std::string name)
    : config_(config), wires_(wires), name_(std::move(name)) {}

VirtualNode::~VirtualNode() {
  if (daemon_) kill(false);
}

void VirtualNode::fail_disk(const std::string& path, MemoryDisk::Fault fault) {
  daemon_->disks.fail(path, fault);
}

unsigned VirtualNode::flushes_lost() const { return daemon_->disks.flushes_lost(); }

void VirtualNode::grow_disk(const std::string& path, std::uint64_t bytes) {
  daemon_->disks.grow(path, bytes);
}

GroupKeeper& VirtualNode::group() { return daemon_->group; }

void VirtualNode::start() { daemon_ = std::make_unique<Daemon>(*this); }

bool VirtualNode::step() {
  if (!daemon_ || paused_) return false;
  daemon_->loop.restart();
  const bool any = daemon_->loop.poll_one() > 0;
  steps_ += any ? 1 : 0;
  return any;
}

void VirtualNode::advance(Duration duration) {
  now_ += duration;
  for (auto& [uuid, volume] : volumes) volume->now = now_.time_since_epoch();
  if (!daemon_) return;
  if (paused_)
    daemon_->clock.move(duration);
  else
    daemon_->clock.advance(duration);
}

void VirtualNode::kill(bool power) {
  if (power) daemon_->disks.cut_power();
  paused_ = false;
  daemon_->loop.abandon();
  daemon_.reset();
}

}  // namespace cascade::test
