// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/catch_up.hpp"

#include "daemon/report/log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace cascade {
namespace {

// Copies that the remote has not stored yet: enough for 1 Gb/s x 50 ms, little beside a journal.
constexpr std::uint64_t flying_bytes_max = 8 * 1024 * 1024;

// How often marks that have gone are written: so much is copied once more after a crash.
constexpr std::chrono::milliseconds save_interval{1000};

// Before a step that failed is tried again.
constexpr std::chrono::seconds retry_pause{2};

/// Falls behind when so much of the journal waits for the remote, and gives up so much of it.
constexpr std::uint64_t full_enough(std::uint64_t bytes) { return bytes / 8 * 7; }
constexpr std::uint64_t given_up_at_once(std::uint64_t bytes) { return bytes / 8; }
/// Copies are appended only while as much is free for writes.
constexpr std::uint64_t free_enough(std::uint64_t bytes) { return bytes / 2; }

}  // namespace

CatchUp::CatchUp(const Parts& parts, std::function<std::uint64_t(const Uuid&)> received_of)
    : p_(parts), retry_timer_(parts.clock.timer()), received_of_(std::move(received_of)) {
  p_.feed.on_rejoin([this] { (void)replace_remote(); });
  p_.journal.on_appended([this](std::span<const Record> records) { note_appended(records); });
}

DirtyMap CatchUp::empty_map() const {
  std::map<Uuid, std::uint64_t> sizes;
  for (const VolumeConfig& volume : p_.group.volumes)
    sizes[volume.uuid] = p_.applier.copy_shape(volume.uuid).bytes;
  return DirtyMap(sizes);
}

/// One that no block on disk is of, in the place that is not in use.
std::uint64_t CatchUp::next_map() const {
  const std::uint64_t next = p_.journal.superblock_generation() + 1;
  return next % 2 == p_.journal.behind().map % 2 ? next + 1 : next;
}

Task<Result<void>> CatchUp::open() {
  RemoteBehind behind = p_.journal.behind();
  if (behind.map == 0) co_return Result<void>{};
  map_ = empty_map();
  AlignedBuffer disk(dirty_map_bytes);
  const auto read = co_await p_.journal_disk.read(dirty_map_offset(behind.map), disk.span());
  if (!read) {
    report::log(report::Level::warning, p_.group.name,
                fmt::format("the dirty bitmap of the remote can't be read: all counts as "
                            "dirty: {}",
                            read.error().text));
    map_->mark_all();
  } else if (map_->load(behind.map, disk.span())) {
    co_return Result<void>{};
  }
  // The volumes are others by now, or their sizes: laid out anew in the other place.
  co_return co_await lay_out_map(behind);
}

/// All of it, in the place that is not in use; then the journal names it.
Task<Result<void>> CatchUp::lay_out_map(RemoteBehind behind) {
  behind.map = next_map();
  map_->change_all();
  if (auto written = co_await write_map(behind.map); !written) co_return written;
  p_.journal.set_behind(behind);
  co_return co_await p_.journal.persist();
}

Task<> CatchUp::run() {
  while (!stopping_ && !p_.journal.failure()) {
    const auto done = co_await step();
    if (!done) {
      failure_ = done.error();
      co_await retry_timer_->sleep(retry_pause);
      continue;
    }
    failure_.reset();
    if (!*done && !stopping_) co_await p_.journal.progress().wait();
  }
}

void CatchUp::stop() {
  stopping_ = true;
  retry_timer_->cancel();
  p_.journal.progress().notify();
}

std::uint64_t CatchUp::needed_from() const {
  const std::uint64_t held = map_ ? p_.journal.behind().seq : p_.feed.remote_stored();
  const std::uint64_t from = std::max({held + 1, given_up_, p_.journal.first_seq()});
  return reading_ ? std::min(from, *reading_) : from;
}

std::optional<double> CatchUp::seconds_left() {
  progress_.sample(p_.clock.boottime(), out_of_sync_bytes());
  return progress_.seconds_left();
}

/// The most urgent thing that can be done now; whether there was any.
Task<Result<bool>> CatchUp::step() {
  using Done = Result<bool>;
  if (must_fall_behind()) {
    const std::uint64_t before = given_up_;
    if (auto fell = co_await fall_behind(); !fell) co_return fell.error();
    co_return Done(given_up_ != before);
  }
  if (replacing_) {
    const auto done = co_await forget_remote();
    if (!done) co_return done.error();
    if (*done) co_return Done(true);
    // Nothing is copied meanwhile: nobody is there to take it.
    if (p_.feed.holds_back()) co_return Done(false);
  }
  if (!map_) co_return Done(false);
  land();
  if (remote_is_whole()) {
    if (auto ended = co_await end(); !ended) co_return ended.error();
    co_return Done(true);
  }
  if (save_due()) {
    if (auto saved = co_await save(); !saved) co_return saved.error();
    co_return Done(true);
  }
  if (stopping_ || !may_copy()) co_return Done(false);
  ask_ahead();
  if (!piece_) piece_ = next_piece();
  if (piece_ && p_.applier.applied_seq() >= piece_->through && !p_.applier.failure()) {
    if (auto copied = co_await copy_piece(); !copied) co_return copied.error();
    co_return Done(true);
  }
  if (!map_->empty() || unsaved_ || closing_ != 0) co_return Done(false);
  append_caught_up();
  co_return Done(true);
}

// ---- falling behind

/// What the copies still need can't be given up: then the journal is full, and writers wait.
bool CatchUp::must_fall_behind() const {
  if (p_.group.on_journal_full != OnJournalFull::suspend) return false;
  const std::uint64_t from = needed_from();
  return from <= p_.applier.applied_seq() &&
         p_.journal.used_from(from) >= full_enough(p_.journal.size_bytes());
}

Task<Result<void>> CatchUp::fall_behind() {
  if (auto raised = co_await raise_floor(); !raised) co_return raised;
  const std::uint64_t from = needed_from();
  reading_ = from;
  const auto marked = co_await mark_oldest(from);
  reading_.reset();
  if (!marked) co_return marked.error();
  given_up_ = std::max(given_up_, *marked);
  p_.journal.progress().notify();
  co_return Result<void>{};
}

/// The oldest writes from `from` on: their regions are marked, on disk. Returns the first one that
/// was not.
Task<Result<std::uint64_t>> CatchUp::mark_oldest(std::uint64_t from) {
  RemoteBehind behind = p_.journal.behind();
  if (behind.map == 0) {
    const auto history = co_await p_.journal.history_at(from - 1);
    if (!history) co_return history.error();
    behind = {next_map(), from - 1, *history, 0};
  }
  DirtyMap fresh = empty_map();
  DirtyMap& map = map_ ? *map_ : fresh;
  const std::uint64_t applied = p_.applier.applied_seq();
  const std::uint64_t wanted = given_up_at_once(p_.journal.size_bytes());
  JournalReader reader(p_.journal, JournalReader::Part::head);
  for (std::uint64_t bytes = 0; from <= applied && bytes < wanted;) {
    const auto batch = co_await reader.read(from);
    if (!batch) co_return batch.error();
    if ((*batch)->last_seq() > applied) break;
    for (const Record& record : (*batch)->records())
      if (group_seq_of(record) >= from && changes_copy(record))
        map.mark(volume_of(record), sector_of(record) * CASCADE_SECTOR_BYTES, length_of(record));
    if (behind.since_ns == 0) behind.since_ns = (*batch)->info.append_time_ns;
    bytes += (*batch)->info.bytes;
    from = (*batch)->last_seq() + 1;
  }
  if (behind.since_ns == 0) co_return from;  // not one whole batch
  if (!map_) {
    map_ = std::move(fresh);
    same_bytes_ = 0;
  }
  if (auto written = co_await write_map(behind.map); !written) co_return written.error();
  // With the next checkpoint, and so together with the new tail.
  p_.journal.set_behind(behind);
  // What was on its way is marked by now, in whatever order it arrives.
  drop_flights();
  co_return from;
}

void CatchUp::drop_flights() {
  forget_parts();
  piece_.reset();
  flights_.clear();
  flying_bytes_ = cursor_bytes_ = closing_ = 0;
  cursor_ = 0;
}

/// The remote has stored more than is known for ever, and what the journal can name the hash of.
bool CatchUp::floor_lags() const {
  const std::uint64_t stored = p_.feed.remote_stored();
  return stored > p_.journal.behind().seq && stored + 1 >= p_.journal.first_seq();
}

/// The remote never comes back with less than this: what it lacked of it may be forgotten.
Task<Result<void>> CatchUp::raise_floor() {
  RemoteBehind behind = p_.journal.behind();
  if (behind.map == 0 || !floor_lags()) co_return Result<void>{};
  const std::uint64_t stored = p_.feed.remote_stored();
  const auto history = co_await p_.journal.history_at(stored);
  if (!history) co_return history.error();
  behind.seq = stored;
  behind.history = *history;
  p_.journal.set_behind(behind);
  co_return co_await p_.journal.persist();
}

Result<void> CatchUp::replace_remote() {
  if (p_.journal.stored_seq() == 0)
    return Error{Errc::refused,
                 "nothing was written yet: a remote with a new journal is taken as it is"};
  replacing_ = true;
  p_.journal.progress().notify();
  return {};
}

/// Two marks, in batches of their own, stand between all that any remote has been sent and where
/// the journal is to begin: so none can go on from what it has. Whether they are there.
bool CatchUp::separated() {
  // While a bracket is open nothing could be read from the copies.
  if (!p_.feed.holds_back() && p_.journal.limit_seq() == no_limit) p_.feed.hold_back();
  if (!p_.feed.held_back()) return false;
  for (std::uint64_t& mark : marks_) {
    if (mark == 0) {
      p_.journal.may_begin_next();
      append_own(make_caught_up(p_.group.uuid, 0, p_.clock.realtime_ns()));
      mark = p_.journal.received_seq();
    }
    if (p_.journal.stored_seq() < mark) return false;
  }
  return p_.applier.applied_seq() >= marks_[1];
}

/// Whether there was anything to do now.
Task<Result<bool>> CatchUp::forget_remote() {
  using Done = Result<bool>;
  if (!separated()) co_return Done(false);
  if (!all_marked_) {
    map_ = empty_map();
    map_->mark_all();
    same_bytes_ = 0;
    drop_flights();
    const RemoteBehind behind{0, 0, history_begin(p_.group.uuid), p_.clock.realtime_ns()};
    if (auto laid = co_await lay_out_map(behind); !laid) co_return laid.error();
    given_up_ = std::max(given_up_, marks_[1]);
    all_marked_ = true;
    co_return Done(true);
  }
  // The next checkpoint brings it there.
  if (p_.journal.first_seq() <= marks_[0]) co_return Done(false);
  p_.journal.forget_follower();
  if (auto kept = co_await p_.journal.persist(); !kept) co_return kept.error();
  replacing_ = all_marked_ = false;
  marks_[0] = marks_[1] = 0;
  p_.feed.forget_remote();
  report::log(report::Level::warning, p_.group.name,
              "the remote is another one, as told: all is compared with it");
  co_return Done(true);
}

Task<Result<void>> CatchUp::write_map(std::uint64_t map) {
  AlignedBuffer page(journal_block);
  for (const std::size_t at : map_->take_changed()) {
    map_->encode(map, at, page.span().first<journal_block>());
    auto written = co_await p_.journal_disk.write_durable(
        dirty_map_offset(map) + at * journal_block, page.span());
    if (!written) co_return written;
  }
  unsaved_ = false;
  co_return Result<void>{};
}

// ---- catching up

/// Marks of what the remote has stored go.
void CatchUp::land() {
  while (!flights_.empty() && flights_.front().seq <= p_.feed.remote_stored()) {
    const Flight& flight = flights_.front();
    flying_bytes_ -= flight.bytes;
    if (flight.last) {
      map_->clear(flight.index);
      unsaved_ = true;
    }
    flights_.pop_front();
  }
}

bool CatchUp::save_due() const {
  const bool pause = p_.clock.boottime() - saved_ >= save_interval;
  return (unsaved_ && map_->empty()) || (pause && (unsaved_ || floor_lags()));
}

Task<Result<void>> CatchUp::save() {
  saved_ = p_.clock.boottime();
  if (auto raised = co_await raise_floor(); !raised) co_return raised;
  co_return co_await write_map(p_.journal.behind().map);
}

bool CatchUp::may_copy() const {
  return p_.feed.lacks() && !p_.journal.crowded() && flying_bytes_ < flying_bytes_max &&
         p_.journal.used_bytes() <= free_enough(p_.journal.size_bytes());
}

std::optional<CatchUp::Part> CatchUp::cut_part() {
  const auto region = map_->next(cursor_);
  if (!region) return std::nullopt;
  if (region->index != cursor_) cursor_bytes_ = 0;
  // What lies behind the volume's end nobody has written, and the remote need not have room for.
  const std::uint64_t volume = p_.journal.volume_bytes(region->volume);
  const std::uint64_t end = region->begin + region->bytes;
  const std::uint64_t wanted = volume == 0 ? end : std::clamp(volume, region->begin, end);
  Part part{*region};
  part.begin = std::min(region->begin + cursor_bytes_, wanted);
  part.bytes = std::min<std::uint64_t>(wanted - part.begin, limits::record_payload_bytes_max);
  part.last = part.begin + part.bytes == wanted;
  cursor_ = part.last ? region->index + 1 : region->index;
  cursor_bytes_ = part.last ? 0 : cursor_bytes_ + part.bytes;
  return part;
}

/// They come to their turn once more.
void CatchUp::forget_parts() {
  if (Questions* questions = p_.feed.questions()) questions->forget();
  asked_session_ = p_.feed.sessions();
  if (parts_.empty()) return;
  cursor_ = parts_.front().region.index;
  cursor_bytes_ = parts_.front().begin - parts_.front().region.begin;
  parts_.clear();
}

/// As many parts as may be asked for at a time, so that no answer has to be waited for.
void CatchUp::ask_ahead() {
  if (asked_session_ != p_.feed.sessions()) forget_parts();
  Questions* questions = p_.feed.questions();
  while (questions != nullptr ? questions->open() < limits::asks_max : parts_.empty()) {
    auto part = cut_part();
    if (!part) break;
    part->asked = questions != nullptr && part->bytes > 0;
    parts_.push_back(*part);
    if (!part->asked) continue;
    questions->ask({part->region.volume, part->begin, static_cast<std::uint32_t>(part->bytes)});
    p_.feed.wake();
  }
}

/// The next part, as it is from now on, once it is known what the remote has there.
std::optional<CatchUp::Piece> CatchUp::next_piece() {
  if (parts_.empty()) return std::nullopt;
  Piece piece{parts_.front()};
  if (piece.part.asked) {
    Questions* questions = p_.feed.questions();
    const auto answer = questions != nullptr ? questions->take() : std::nullopt;
    if (!answer) return std::nullopt;
    piece.theirs = answer->sum;
  }
  parts_.pop_front();
  piece.through = p_.journal.received_seq();
  return piece;
}

void CatchUp::note_appended(std::span<const Record> records) {
  if (!piece_) return;
  const Part& part = piece_->part;
  const std::uint64_t first = part.begin / CASCADE_SECTOR_BYTES;
  const std::uint64_t end = first + part.bytes / CASCADE_SECTOR_BYTES;
  for (const Record& record : records) {
    if (!changes_copy(record) || volume_of(record) != part.region.volume) continue;
    const std::uint64_t from = std::max(sector_of(record), first);
    const std::uint64_t to =
        std::min(sector_of(record) + length_of(record) / CASCADE_SECTOR_BYTES, end);
    for (std::uint64_t sector = from; sector < to; ++sector) piece_->written.set(sector - first);
  }
}

Task<Result<void>> CatchUp::copy_piece() {
  const Part part = piece_->part;
  Disk* copy = p_.applier.copy(part.region.volume);
  AlignedBuffer content(part.bytes);
  const unsigned rewinds = p_.applier.rewinds();
  if (copy != nullptr && part.bytes > 0)
    if (auto read = co_await copy->read(part.begin, content.span()); !read) co_return read;
  // A copy that failed meanwhile may have lost what it had to hold.
  if (stopping_ || p_.applier.failure() || p_.applier.rewinds() != rewinds)
    co_return Result<void>{};
  append_piece(content.span());
  co_return Result<void>{};
}

void CatchUp::append_piece(std::span<const std::byte> content) {
  const Piece piece = *std::exchange(piece_, std::nullopt);
  const Part& part = piece.part;
  const bool same = piece.theirs && *piece.theirs == content_sum(content);
  if (same)
    same_bytes_ += part.bytes;
  else
    append_records(piece, content);
  const std::uint64_t flying = same ? 0 : part.bytes;
  flights_.push_back({part.region.index, part.last, p_.journal.received_seq(), flying});
  flying_bytes_ += flying;
}

/// What of the piece was not written meanwhile: each run of such sectors is a record.
void CatchUp::append_records(const Piece& piece, std::span<const std::byte> content) {
  const Part& part = piece.part;
  const std::uint64_t now = p_.clock.realtime_ns();
  const std::uint64_t sectors = part.bytes / CASCADE_SECTOR_BYTES;
  const std::uint64_t received = received_of_(part.region.volume);
  std::vector<Record> records;
  Bytes payload;
  for (std::uint64_t at = 0, end = 0; at < sectors; at = end) {
    end = at + 1;
    while (end < sectors && piece.written[end] == piece.written[at]) ++end;
    if (piece.written[at]) continue;
    const auto run = content.subspan(at * CASCADE_SECTOR_BYTES, (end - at) * CASCADE_SECTOR_BYTES);
    Record record =
        make_copy(part.region.volume, part.begin / CASCADE_SECTOR_BYTES + at, run, received, now);
    set_group_seq(record, p_.journal.next_seq() + records.size());
    records.push_back(record);
    if (record.op == CASCADE_OP_WRITE) payload.insert(payload.end(), run.begin(), run.end());
  }
  if (!records.empty()) p_.journal.append(make_incoming(records, payload));
}

/// Which volumes stand apart may be among what the remote was not sent.
void CatchUp::append_caught_up() {
  p_.bracket.repeat();
  const std::uint64_t through = std::max(p_.journal.first_seq(), given_up_) - 1;
  append_own(make_caught_up(p_.group.uuid, through, p_.clock.realtime_ns()));
  closing_ = p_.journal.received_seq();
}

void CatchUp::append_own(Record record) {
  set_group_seq(record, p_.journal.next_seq());
  p_.journal.append(make_incoming(std::span(&record, 1), {}));
}

bool CatchUp::remote_is_whole() const {
  const std::uint64_t stored = p_.feed.remote_stored();
  if (closing_ != 0 && stored >= closing_) return true;
  return p_.feed.up() && !p_.feed.lacks() && stored + 1 >= given_up_ &&
         stored + 1 >= p_.journal.first_seq();
}

Task<Result<void>> CatchUp::end() {
  map_.reset();
  drop_flights();
  unsaved_ = false;
  p_.journal.set_behind({});
  p_.feed.caught_up();
  report::log(report::Level::notice, p_.group.name, "the remote has caught up");
  co_return co_await p_.journal.persist();
}

}  // namespace cascade
