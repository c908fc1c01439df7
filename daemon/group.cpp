// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/group.hpp"

#include "daemon/report/log.hpp"
#include "lib/block/identity.hpp"

#include <fmt/format.h>

#include <limits>

namespace cascade {

using report::Level;

GroupNode::GroupNode(const Seams& seams, const Config& config, const GroupConfig& group,
                     std::string node)
    : seams_(seams),
      config_(config),
      group_(group),
      node_(std::move(node)),
      times_(session_times(config.daemon)),
      crew_(seams.executor),
      sessions_(seams.executor),
      stop_(seams.executor),
      verification_(node_) {}

GroupNode::~GroupNode() = default;

bool GroupNode::concerns(const GroupConfig& group, const std::string& node) {
  if (group.hub == node || group.remote == node) return true;
  for (const VolumeConfig& volume : group.volumes)
    if (volume.primary == node) return true;
  return false;
}

std::vector<const VolumeConfig*> GroupNode::primary_volumes() const {
  std::vector<const VolumeConfig*> mine;
  for (const VolumeConfig& volume : group_.volumes)
    if (volume.primary == node_) mine.push_back(&volume);
  return mine;
}

/// The end of this try; a device's error comes to many at once, and the first one counts.
void GroupNode::fail(const Error& error) {
  if (stopping_) return;
  failure_ = error;
  stop();
}

/// The end of this try, so that the next one finds what has changed.
void GroupNode::begin_anew() {
  if (stopping_) return;
  begins_anew_ = true;
  stop();
}

// ---- life

Task<> GroupNode::run() {
  if (auto started = co_await start(); !started) fail(started.error());
  ready_ = !stopping_;
  while (!stopping_) co_await stop_.wait();
  co_await sessions_.join();
  co_await crew_.join();
  if (next_journal_ != NextJournal::same) co_await make_next_journal();
}

Task<Result<void>> GroupNode::start() {
  if (is_hub() || is_remote()) {
    if (auto started = co_await start_storage(); !started) co_return started;
  }
  if (stopping_) co_return Result<void>{};
  if (taken_over()) {
    crew_.add(finish_takeover());
    crew_.add(watch_storage());
    co_return Result<void>{};
  }
  if (has_witness() && !is_remote()) know_witness();
  if (is_hub()) {
    if (auto started = co_await start_hub(); !started) co_return started;
  }
  if (stopping_) co_return Result<void>{};
  if (is_remote()) start_remote();
  if (!primary_volumes().empty()) start_primary();
  if (storage_ != nullptr) {
    crew_.add(run_storage());
    crew_.add(watch_storage());
  }
  co_return Result<void>{};
}

/// What it could not store is lost: only what is on the disk is known, so all begins anew from
/// that.
Task<> GroupNode::watch_storage() {
  Journal& journal = *storage_->journal;
  const Applier& applier = *storage_->applier;
  while (!stopping_ && !journal.failure() && !applier.broken()) co_await journal.progress().wait();
  if (journal.failure()) fail(*journal.failure());
  if (applier.broken()) fail(*applier.broken());
}

/// In the order of the flow: sources first, so that what has arrived can still be stored.
void GroupNode::stop() {
  stopping_ = true;
  if (link_) link_->stop();
  if (ring_feed_) ring_feed_->stop();
  const std::string why = failure_ ? failure_->text : "this daemon is stopping";
  for (Receiver* receiver : receivers_) receiver->stop(why);
  if (mirror_) mirror_->stop();
  if (ship_link_) ship_link_->stop();
  if (petitioner_) {
    petitioner_->stop();
    wish_timer_->cancel();
    withdraw_timer_->cancel();
  }
  if (catch_up_) catch_up_->stop();
  if (storage_ != nullptr && storage_->journal) storage_->journal->stop();
  if (storage_ != nullptr && storage_->applier) storage_->applier->stop();
  stop_.notify();
}

/// A copy that has grown is taken with its new size by a beginning anew: much is laid out by it.
bool GroupNode::look_at_copy(const Uuid& volume, std::uint64_t needed) {
  const std::uint64_t now = storage_->applier->copy_bytes_now(volume);
  if (now < needed) return false;
  if (stopping_) return begins_anew_;
  report::log(Level::notice, group_.name,
              fmt::format("the copy of {} has grown to {} bytes: the group begins anew with that",
                          group_.name_of(volume), now));
  begin_anew();
  return true;
}

Result<std::unique_ptr<Disk>> GroupNode::open_disk(const std::string& path) {
  return seams_.disks.open(path, true);
}

Result<Applier::Copies> GroupNode::open_copies() {
  Applier::Copies copies;
  for (const VolumeConfig& volume : group_.volumes) {
    const auto path = volume.disk.find(node_);
    if (path == volume.disk.end()) continue;
    auto disk = open_disk(path->second);
    if (!disk) return disk.error();
    copies[volume.uuid] = std::move(*disk);
  }
  return copies;
}

/// A copy on another device than last time is left alone until somebody says that it is right.
Result<void> GroupNode::know_copy(Journal& journal, const Uuid& volume, const Disk& disk) {
  const std::string name = disk.identity();
  const CopyDevice now{identity_hash(name), disk.bytes()};
  const CopyDevice then = journal.copy_device(volume);
  const bool other = now.identity != 0 && then.identity != 0 && now.identity != then.identity;
  const std::string who = group_.name_of(volume);
  if (other || now.bytes < then.bytes)
    return Error{
        Errc::refused,
        fmt::format("the copy of {} is on another device than last time: {} is '{}' with "
                    "{} bytes, it had {}; bring the old one, or, if the content was moved, "
                    "'dmcascade journal accept-copy {}'",
                    who, disk.path(), name, now.bytes, then.bytes, who)};
  journal.set_copy_device(volume, now);
  return {};
}

Task<Result<void>> GroupNode::know_copies(Journal& journal, const Applier::Copies& copies) {
  for (const auto& [volume, disk] : copies)
    if (auto known = know_copy(journal, volume, *disk); !known) co_return known;
  co_return co_await journal.persist();
}

Task<Result<void>> GroupNode::start_storage() {
  const auto path = group_.journal.find(node_);
  if (path == group_.journal.end())
    co_return Error{Errc::invalid, fmt::format("no journal for node {} is configured", node_)};
  auto disk = open_disk(path->second);
  if (!disk) co_return disk.error();
  auto storage = std::make_unique<Storage>();
  storage->journal_disk = std::move(*disk);
  std::set<Uuid> volumes;
  for (const VolumeConfig& volume : group_.volumes) volumes.insert(volume.uuid);
  storage->journal =
      std::make_unique<Journal>(seams_.executor, *storage->journal_disk, seams_.clock, group_.uuid,
                                std::move(volumes), group_.journal_cache_bytes);
  Journal& journal = *storage->journal;
  if (is_hub() && !group_.remote.empty())
    journal_feed_ = std::make_unique<JournalFeed>(group_, seams_.clock, journal);
  const std::function<void(const BatchInfo&)> note = [this](const BatchInfo& batch) {
    if (journal_feed_) journal_feed_->recovered(batch);
  };
  auto opened = co_await journal.open(note);
  if (!opened) co_return opened;
  // What was handed over is somebody else's.
  auto copies = journal.takeover().done() ? Applier::Copies{} : open_copies();
  if (!copies) co_return copies.error();
  if (auto known = co_await know_copies(journal, *copies); !known) co_return known;
  storage->applier =
      std::make_unique<Applier>(seams_.executor, seams_.clock, journal, std::move(*copies),
                                group_.name, [this] { return needed_from(); });
  storage->applier->check_with([this, &journal](const Uuid& volume, const Disk& disk) {
    return know_copy(journal, volume, disk);
  });
  storage->applier->note_in(verification_);
  if (is_remote()) storage->applier->delay(group_.apply_delay);
  if (journal.takeover().decided())
    storage->applier->end_at(journal.takeover().newest, journal.takeover().at_ns);
  if (auto undo = co_await start_undo(*storage); !undo) co_return undo;
  storage_ = std::move(storage);
  report::log(Level::notice, group_.name,
              fmt::format("journal {} holds writes {} to {}{}", path->second, journal.first_seq(),
                          journal.received_seq(),
                          journal.was_crashed() ? ", recovered after a crash" : ""));
  co_return Result<void>{};
}

Task<Result<void>> GroupNode::start_undo(Storage& storage) {
  const auto path = group_.undo.find(node_);
  if (path == group_.undo.end()) co_return Result<void>{};
  auto disk = open_disk(path->second);
  if (!disk) co_return disk.error();
  storage.undo_disk = std::move(*disk);
  co_return co_await storage.applier->use_undo(*storage.undo_disk);
}

/// First group_seq that the journal keeps for others than the copies of this node.
std::uint64_t GroupNode::needed_from() const {
  if (catch_up_) return catch_up_->needed_from();
  return journal_feed_ ? 0 : std::numeric_limits<std::uint64_t>::max();
}

Task<> GroupNode::run_storage() {
  Crew parts(seams_.executor);
  parts.add(storage_->journal->run());
  parts.add(storage_->applier->run());
  co_await parts.join();
  co_await sessions_.join();
  if (auto settled = co_await storage_->applier->settle(); !settled) co_return;
  const Journal& journal = *storage_->journal;
  if (const auto lost = journal.received_seq() - journal.stored_seq(); lost > 0)
    report::log(
        Level::warning, group_.name,
        fmt::format("stopped with {} writes received and not stored (journal full, or it "
                    "failed); the journal is left as after a crash, and the rings send them "
                    "again",
                    lost));
  (void)co_await storage_->journal->close();
}

Task<Result<void>> GroupNode::start_hub() {
  Journal& journal = *storage_->journal;
  mirror_ = std::make_unique<MirrorVolumes>(group_, journal, seams_.clock);
  mirror_->load([this](const Uuid& uuid) { return storage_->applier->copy_shape(uuid); });
  mirror_->on_too_small([this](const Uuid& u, auto needed) { return look_at_copy(u, needed); });
  mirror_->resume();
  crew_.add(mirror_->watch_leases());
  if (petitioner_ && journal.petition() != Uuid{}) crew_.add(withdraw_petition());
  if (!journal_feed_) co_return Result<void>{};
  catch_up_ = std::make_unique<CatchUp>(
      CatchUp::Parts{group_, seams_.clock, journal, *storage_->journal_disk, *storage_->applier,
                     *journal_feed_, mirror_->bracket()},
      [this](const Uuid& uuid) {
        const auto* volume = mirror_->find(uuid);
        return volume != nullptr ? volume->received : 0;
      });
  if (auto opened = co_await catch_up_->open(); !opened) co_return opened;
  crew_.add(catch_up_->run());
  journal_feed_->describe_with([this] { return mirror_->describe(); });
  journal_feed_->note_in(verification_);
  mirror_->on_change([this] { journal_feed_->renew(); });
  ship_link_ =
      std::make_unique<Link>(seams_.executor, seams_.clock, seams_.net, times_, node_, group_.uuid,
                             group_.name, *config_.node(group_.remote), *journal_feed_);
  ship_link_->use_congestion_control(group_.ship_congestion);
  ship_link_->compress(group_.ship_compress, seams_.worker);
  crew_.add(ship_link_->run());
  co_return Result<void>{};
}

void GroupNode::start_remote() {
  std::map<Uuid, CopyShape> copies;
  for (const VolumeConfig& volume : group_.volumes)
    copies[volume.uuid] = storage_->applier->copy_shape(volume.uuid);
  ship_.reset(new ShipState{group_, *storage_->journal, std::move(copies)});
  ship_->realtime_ns = [this] { return seams_.clock.realtime_ns(); };
  ship_->too_small = [this](const Uuid& u, auto needed) { return look_at_copy(u, needed); };
  ship_->report = [this] {
    const Journal& journal = *storage_->journal;
    Report report{storage_->applier->applied_seq(), journal.size_bytes(), journal.used_bytes()};
    report.failure = storage_->applier->failure();
    report.full = journal.starved();
    report.bracket = journal.limit_seq() != no_limit;
    return report;
  };
}

void GroupNode::start_primary() {
  ring_feed_ = std::make_unique<RingFeed>(seams_.executor, seams_.clock, seams_.rings, group_.name,
                                          primary_volumes());
  link_ = std::make_unique<Link>(seams_.executor, seams_.clock, seams_.net, times_, node_,
                                 group_.uuid, group_.name, *config_.node(group_.hub), *ring_feed_);
  crew_.add(ring_feed_->run());
  crew_.add(link_->run());
  if (petitioner_) crew_.add(ask_to_go_alone());
}

// ---- sessions of upstream nodes

LinkStatus& GroupNode::upstream_status(const std::string& peer) {
  const auto [place, is_new] = upstream_.try_emplace(peer);
  LinkStatus& status = place->second;
  if (is_new) {
    status.peer = peer;
    status.reason = "has not connected yet";
  }
  return status;
}

Result<void> GroupNode::end_bracket(const std::string& name) {
  if (!mirror_)
    return Error{Errc::refused, fmt::format("{} is not the hub of group {}; ask {}", node_,
                                            group_.name, group_.hub)};
  const VolumeConfig* volume = group_.volume(name);
  if (volume == nullptr)
    return Error{Errc::not_found, fmt::format("group {} has no volume {}", group_.name, name)};
  auto left = mirror_->bracket().leave(volume->uuid);
  if (left)
    report::log(Level::warning, group_.name,
                fmt::format("goes on without {}, as told: its copies stay behind", name));
  return left;
}

Result<void> GroupNode::apply_bracket() {
  if (auto copies = has_copies(); !copies) return copies;
  auto given_up = storage_->applier->give_up_limit();
  if (given_up)
    report::log(Level::warning, group_.name,
                "the copies go past the open bracket, as told: they are no consistent image until "
                "it closes");
  return given_up;
}

Result<void> GroupNode::replace_remote() {
  if (!catch_up_)
    return Error{Errc::refused, fmt::format("{} is not the hub of a group with a remote; ask {}",
                                            node_, group_.hub)};
  return catch_up_->replace_remote();
}

std::unique_ptr<Intake> GroupNode::make_intake(const Hello& hello, const std::string& host) {
  if (hello.kind == SessionKind::mirror && mirror_)
    return std::make_unique<MirrorIntake>(*mirror_, host);
  if (hello.kind == SessionKind::ship && ship_) return std::make_unique<ShipIntake>(*ship_);
  return nullptr;
}

void GroupNode::accept(std::unique_ptr<Stream> stream, Hello hello) {
  if (stopping_) return;
  if (taken_over()) {
    sessions_.add(turn_away(std::move(stream), parted(hello)));
    return;
  }
  if (hello.kind == SessionKind::petition && is_remote() && has_witness()) {
    sessions_.add(witness(std::move(stream), std::move(hello)));
    return;
  }
  const char* wanted = hello.kind == SessionKind::mirror ? "hub"
                       : hello.kind == SessionKind::ship ? "remote"
                                                         : "witness";
  const Error role{Errc::refused,
                   fmt::format("{} is not the {} of group {}; compare the configuration files",
                               node_, wanted, group_.name)};
  if (config_.node(hello.node) == nullptr || !make_intake(hello, stream->peer_host()))
    sessions_.add(turn_away(std::move(stream), role));
  else
    sessions_.add(serve(std::move(stream), std::move(hello)));
}

Task<> GroupNode::serve(std::unique_ptr<Stream> stream, Hello hello) {
  LinkStatus& status = upstream_status(hello.node);
  auto intake = make_intake(hello, stream->peer_host());
  Receiver receiver(seams_.executor, seams_.clock, times_, node_, *storage_->journal,
                    std::move(stream), std::move(intake), status);
  receiver.answer_from(*storage_->applier);
  receiver.tell_of(verification_, !journal_feed_ || journal_feed_->verifies());
  const auto place = receivers_.insert(receivers_.end(), &receiver);
  const std::string peer = hello.node;
  const auto say = [&](const std::string& text) {
    report::log(status.lines, seams_.clock.now(), Level::notice, group_.name, text);
  };
  say(fmt::format("session of {} begins", peer));
  const std::string before = status.reason;
  co_await receiver.run(std::move(hello));
  receivers_.erase(place);
  const std::string ended = fmt::format("session of {} ended: {}", peer, receiver.reason());
  // What is new is said in any case.
  if (receiver.reason() != before)
    report::log(Level::notice, group_.name, ended);
  else
    say(ended);
}

}  // namespace cascade
