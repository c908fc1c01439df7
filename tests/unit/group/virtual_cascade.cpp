// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/group/virtual_cascade.hpp"

#include "daemon/report/log.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <fmt/format.h>

namespace cascade::test {

Config make_config(AckWhen hub_ack, FenceLevel fence) {
  // Time is short where leases are to run out.
  const bool leased = fence == FenceLevel::never || fence == FenceLevel::witness;
  Config config;
  for (const char* name : names) config.nodes.push_back({name, name, {name, 1}});
  GroupConfig g;
  g.name = "shop";
  g.uuid = group;
  g.hub = "h";
  g.remote = "r";
  g.hub_ack = hub_ack;
  g.fence_level = fence;
  g.lease = milliseconds(leased ? 400 : 4000);
  g.journal = {{"h", "journal"}, {"r", "journal"}};
  g.journal_cache_bytes = 1 << 20;
  g.on_journal_full = OnJournalFull::suspend;
  for (const auto& [name, uuid, primary] :
       {std::tuple{"orders", volume_a, "p1"}, std::tuple{"ledger", volume_b, "p2"}})
    g.volumes.push_back({name, uuid, primary, {{"h", name}, {"r", name}}, 1 << 20});
  config.groups.push_back(g);
  config.daemon.heartbeat = milliseconds(leased ? 100 : 1000);
  config.daemon.session_timeout = milliseconds(5000);
  config.daemon.reconnect_min = milliseconds(50);
  config.daemon.reconnect_max = milliseconds(200);
  return config;
}

std::vector<std::byte> new_journal(std::uint64_t bytes) {
  std::vector<std::byte> image(bytes);
  const Superblock sb = *format_superblock(group, image.size());
  for (const std::uint64_t generation : {0, 1})
    encode_superblock(
        sb, std::span(image).subspan(superblock_offset(generation)).first<superblock_bytes>());
  return image;
}

Cascade::Cascade(unsigned seed, AckWhen hub_ack, FenceLevel fence,
                 std::uint64_t remote_journal_bytes)
    : lots_(seed), config_(make_config(hub_ack, fence)) {
  config_.groups.front().ship_compress = static_cast<Codec>(seed % 3);
  for (const char* name : names) nodes_.try_emplace(name, config_, wires_, name);
  for (const char* name : {"h", "r"}) {
    node(name).images["journal"] =
        new_journal(name == std::string("r") ? remote_journal_bytes : journal_disk_bytes);
    for (const char* volume : {"orders", "ledger"}) node(name).images[volume].resize(copy_bytes);
  }
  add_volume("p1", volume_a, "orders");
  add_volume("p2", volume_b, "ledger");
  for (const char* name : names) node(name).start();
  report::time_from([this] { return node("h").realtime_ns(); });
}

Cascade::~Cascade() {
  report::time_from([] { return std::uint64_t{0}; });
  for (auto& [name, node] : nodes_)
    if (node.runs()) node.kill(false);
}

void Cascade::depend(std::size_t which) {
  Volume& volume = volumes_[which];
  Volume& other = volumes_[1 - which];
  if (!volume.kernel->writable() || acknowledged(volume) < volume.chain) return;
  std::array<std::uint64_t, 64> sector{volume.chain_length + 1, seen(other)};
  const auto payload = std::as_bytes(std::span(sector));
  volume.seq = volume.chain = volume.kernel->write(0, payload);
  volume.chain_length += 1;
}

std::string Cascade::effect_without_cause(const std::string& name) {
  Wires none;
  VirtualNode alone(config_, none, name);
  // Into memory that is there already: new pages for each look take longer than all else.
  const auto& images = node(name).images;
  std::erase_if(looked_at_, [&](const auto& disk) { return !images.contains(disk.first); });
  for (const auto& [path, image] : images) looked_at_[path] = image;
  alone.images = std::move(looked_at_);
  alone.start();
  for (int i = 0; i < 100; ++i) {
    while (alone.step()) {
    }
    alone.advance(milliseconds(100));
  }
  alone.kill(false);
  looked_at_ = std::move(alone.images);
  const std::string restored = restore(looked_at_);
  if (!restored.empty()) return name + ": " + restored;
  if (const std::string other = other_than_before(name, looked_at_); !other.empty()) return other;
  std::array<std::array<std::uint64_t, 2>, 2> held{};
  for (std::size_t i = 0; i < 2; ++i)
    std::memcpy(held[i].data(), looked_at_[volumes_[i].name].data(), sizeof held[i]);
  for (std::size_t i = 0; i < 2; ++i)
    if (held[i][1] > held[1 - i][0])
      return fmt::format("{}: {} has seen {} of {}, whose copy is at {}", name, volumes_[i].name,
                         held[i][1], volumes_[1 - i].name, held[1 - i][0]);
  if (held[0][0] < seen_on_[name][0] || held[1][0] < seen_on_[name][1])
    return fmt::format("{}: its point in time went back", name);
  seen_on_[name] = {held[0][0], held[1][0]};
  return {};
}

void Cascade::add_undo(const std::string& name, std::uint64_t bytes) {
  config_.groups.front().undo[name] = "undo";
  node(name).images["undo"].resize(bytes);
}

void Cascade::live(unsigned steps) {
  for (unsigned i = draw() % steps; i > 0; --i) {
    go_on();
    if (i % 2 == 0) depend(draw() % 2);
  }
}

void Cascade::go_on() {
  auto at = nodes_.begin();
  std::advance(at, lots_() % nodes_.size());
  if (paused_for_ > 0 && --paused_for_ == 0) node(paused_).pause(false);
  for (unsigned i = lots_() % 8; i > 0; --i) at->second.step();
  if (lots_() % 4 == 0) pass(milliseconds(lots_() % 40));
  if (lots_() % 4 == 0) write_one(volumes_[lots_() % volumes_.size()]);
  volumes_[lots_() % volumes_.size()].kernel->step();
}

void Cascade::write_much() {
  constexpr std::uint64_t parts = 4, writes_a_part = 10, part_sectors = 512;
  for (Volume& volume : volumes_) {
    if (!volume.kernel->writable() || volume.kernel->ring().stored() < volume.seq) continue;
    const auto payload = pattern(part_sectors * 512, static_cast<unsigned>(lots_()));
    const std::uint64_t part = volume.much++ / writes_a_part % parts;
    volume.seq =
        volume.kernel->write(part_sectors * (1 + part) + lots_() % (part_sectors / 2), payload);
  }
}

std::optional<bool> Cascade::remote_behind() {
  const auto remote = node("h").runs() ? node("h").group().status().remote : std::nullopt;
  if (!remote) return std::nullopt;
  return !remote->behind_since.empty();
}

std::string Cascade::figures() {
  std::string out;
  for (const char* name : {"h", "r"}) {
    if (!node(name).runs()) continue;
    const auto group = node(name).group().status();
    if (group.journal)
      out += fmt::format("{}: {} of {} bytes, {} received, {} stored, {} applied; ", name,
                         group.journal->used_bytes, group.journal->size_bytes,
                         group.journal->received_seq, group.journal->stored_seq,
                         group.journal->applied_seq);
    if (group.bracket)
      out +=
          fmt::format("bracket at {}, {} volumes, catching up {}; ", group.bracket->applied_through,
                      group.bracket->volumes.size(), group.bracket->catching_up);
    if (group.remote)
      out += fmt::format("remote at {}, {} bytes out of sync; ", group.remote->stored_seq,
                         group.remote->out_of_sync_bytes);
  }
  return out;
}

void Cascade::cut_primary(std::size_t which) {
  Volume& volume = volumes_[which];
  const std::uint64_t sure = acknowledged(volume);
  (void)seen(volume);
  node(which == 0 ? "p1" : "p2").kill(true);
  volume.kernel->lose_power(sure, lots_() % 4);
  // What the application finds on the disk is what it goes on from.
  std::memcpy(&volume.chain_length, volume.kernel->disk.data(), sizeof volume.chain_length);
  volume.chain = 0;
}

void Cascade::pause(const std::string& name, unsigned steps) {
  if (paused_for_ > 0) node(paused_).pause(false);
  node(name).pause(true);
  paused_ = name;
  paused_for_ = steps;
}

std::string Cascade::takeover_state(const std::string& name) {
  const auto status = node(name).group().status();
  return status.takeover ? status.takeover->state : "";
}

bool Cascade::drain() {
  for (auto& [name, node] : nodes_) node.pause(false);
  for (int i = 0; i < 4000; ++i) {
    if (i % 10 == 0 && drained()) return true;
    run_for(milliseconds(20));
  }
  return false;
}

void Cascade::run_for(milliseconds time) {
  for (milliseconds passed{}; passed < time; passed += milliseconds(20)) {
    for (int n = 0; n < 50; ++n) {
      for (auto& [name, node] : nodes_) node.step();
      for (Volume& volume : volumes_) volume.kernel->step();
    }
    pass(milliseconds(20));
  }
}

std::string Cascade::difference() {
  // What lies in the disks' images is there once the daemons are gone.
  for (const char* name : {"h", "r"}) node(name).kill(false);
  for (const Volume& volume : volumes_)
    for (const char* name : {"h", "r"})
      if (node(name).images[volume.name] != volume.kernel->disk) return volume.name + " on " + name;
  return {};
}

void Cascade::go_round() {
  for (auto& [name, node] : nodes_) node.step();
  for (Volume& volume : volumes_) volume.kernel->step();
  if (++rounds_ % 8 == 0) pass(milliseconds(1));
}

bool Cascade::ready() const {
  for (const Volume& volume : volumes_)
    if (volume.kernel->alone() || !volume.kernel->ring().started()) return false;
  return true;
}

bool Cascade::all_acknowledged() {
  return std::all_of(volumes_.begin(), volumes_.end(), [&](Volume& volume) {
    return acknowledged(volume) >= volume.kernel->ring().published();
  });
}

bool Cascade::drained() {
  if (!ready() || !node("h").runs() || !node("r").runs()) return false;
  for (const Volume& volume : volumes_) {
    volume.kernel->ring().doorbell();
    const RingDouble& ring = volume.kernel->ring();
    if (ring.stored() != ring.published() || !volume.kernel->in_sync()) return false;
  }
  const auto hub = node("h").group().status().journal, remote = node("r").group().status().journal;
  // Marks stand between the writes.
  return hub && remote && hub->applied_seq == hub->received_seq &&
         remote->applied_seq == hub->received_seq && hub->consistent && remote->consistent;
}

std::uint64_t Cascade::acknowledged(Volume& volume) {
  // What was under way when it went on alone is done.
  if (std::exchange(volume.times_alone, volume.kernel->times_alone) != volume.kernel->times_alone)
    volume.chain = 0;
  if (volume.kernel->alone()) return std::numeric_limits<std::uint64_t>::max();
  volume.kernel->ring().doorbell();
  return config_.groups.front().hub_ack == AckWhen::sync ? volume.kernel->ring().stored()
                                                         : volume.kernel->ring().received();
}

std::uint64_t Cascade::seen(Volume& volume) {
  // In this order: what it has acknowledged may change what it waits for.
  const std::uint64_t through = acknowledged(volume);
  if (volume.kernel->writable())
    volume.known = through >= volume.chain ? volume.chain_length : volume.chain_length - 1;
  return volume.known;
}

void Cascade::add_volume(const std::string& primary, const Uuid& uuid, const std::string& name) {
  auto& slot = node(primary).volumes[uuid];
  slot = std::make_unique<VirtualVolume>(uuid);
  const FenceLevel fence = config_.groups.front().fence_level;
  if (fence == FenceLevel::never) slot->fence = CASCADE_FENCE_NEVER;
  if (fence == FenceLevel::witness) slot->fence = CASCADE_FENCE_WITNESS;
  volumes_.push_back({name, uuid, slot.get()});
}

void Cascade::write_one(Volume& volume) {
  if (!volume.kernel->writable() || volume.count >= writes) return;
  const std::size_t sectors = 1 + lots_() % 8, at = 1 + lots_() % (255 - sectors);
  const auto payload = pattern(sectors * 512, static_cast<unsigned>(lots_()));
  volume.seq = volume.kernel->write(at, payload);
  volume.count += 1;
}

void Cascade::pass(milliseconds time) {
  for (auto& [name, node] : nodes_) node.advance(time);
}

std::string Cascade::other_than_before(const std::string& name, VirtualDisks::Images& images) {
  const std::uint64_t limit = superblock_in(images["journal"]).limit_seq;
  if (limit == no_limit) return {};
  auto& before = at_limit_[{name, limit}];
  for (const Volume& volume : volumes_)
    if (before.try_emplace(volume.name, images[volume.name]).first->second != images[volume.name])
      return fmt::format("{}: its copies are not what they were at write {}", name, limit);
  return {};
}

std::string Cascade::restore(VirtualDisks::Images& images) {
  const Superblock sb = superblock_in(images["journal"]);
  if (!sb.past_limit) return {};
  if (*sb.past_limit != sb.limit_seq) return {};
  times_past_ += 1;
  World world;
  const auto disk = [&](const std::string& name) {
    return std::make_unique<MemoryDisk>(world.executor, name, std::move(images[name]));
  };
  const auto log = disk("undo");
  Undo undo(*log);
  Undo::Copies copies;
  for (const Volume& volume : volumes_) copies[volume.uuid] = disk(volume.name);
  if (!world.get(undo.open({sb.journal, sb.limit_seq}))) return "the undo log can't be read";
  if (!undo.holds({sb.journal, sb.limit_seq})) return "there is no undo log";
  if (!world.get(undo.restore(copies))) return "the undo log can't be restored";
  for (const Volume& volume : volumes_)
    images[volume.name] = std::move(static_cast<MemoryDisk&>(*copies[volume.uuid]).image());
  return {};
}

}  // namespace cascade::test
