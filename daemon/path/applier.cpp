// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/applier.hpp"

#include "lib/base/checksum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <vector>

namespace cascade {
namespace {

// Writes under way together: enough to keep a fast disk busy, few enough to compare pairwise.
constexpr std::size_t burst_writes_max = 128;
constexpr std::size_t burst_bytes_max = 8 * 1024 * 1024;

// How much may have to be applied again after a crash, in time.
constexpr std::chrono::milliseconds checkpoint_interval{1000};

/// So much of a journal may wait for an open bracket; the rest takes what comes meanwhile.
constexpr std::uint64_t held_max(std::uint64_t bytes) { return bytes / 4 * 3; }

/// Intakes let nothing of the kind in; a copy may have been made smaller since.
Error past_the_end(const Record& record, const Disk& disk) {
  return Error{Errc::invalid, fmt::format("write {} goes past the end of {} ({} bytes); nothing "
                                          "after it is applied; make the copy as large as it was",
                                          group_seq_of(record), disk.path(), disk.bytes())};
}

Undo::Range range_of(const Record& record) {
  const std::uint64_t begin = sector_of(record) * CASCADE_SECTOR_BYTES;
  return {volume_of(record), begin, begin + length_of(record)};
}

}  // namespace

/// Consecutive writes without overlap, and the batches that hold them.
struct Applier::Burst {
  struct Writes {
    Disk* disk = nullptr;
    std::vector<DiskWrite> list;
    Result<void> done = {};

    Task<> put() { done = co_await disk->write(list); }
  };
  std::map<Uuid, Writes> writes;  // by volume: no order depends on an address
  std::vector<Undo::Range> ranges;
  std::vector<BatchPtr> keep;
  std::size_t bytes = 0;
  std::uint64_t last_seq = 0;

  bool full() const { return ranges.size() >= burst_writes_max || bytes >= burst_bytes_max; }

  bool overlaps(const Undo::Range& range) const {
    return std::any_of(ranges.begin(), ranges.end(), [&](const Undo::Range& r) {
      return r.begin < range.end && range.begin < r.end && r.volume == range.volume;
    });
  }

  /// Unless it overlaps one that is already there. One that goes on where the last one ended, on
  /// the disk and in memory, makes that larger.
  bool add(Disk& disk, const Undo::Range& range, std::span<const std::byte> payload) {
    if (overlaps(range)) return false;
    Writes& to = writes[range.volume];
    to.disk = &disk;
    bytes += payload.size();
    const bool goes_on = !ranges.empty() && ranges.back().volume == range.volume &&
                         ranges.back().end == range.begin &&
                         to.list.back().data.data() + to.list.back().data.size() == payload.data();
    if (goes_on) {
      auto& data = to.list.back().data;
      data = {data.data(), data.size() + payload.size()};
      ranges.back().end = range.end;
    } else {
      to.list.push_back({range.begin, payload});
      ranges.push_back(range);
    }
    return true;
  }
};

Applier::Applier(const Executor& executor, Clock& clock, Journal& journal, Copies copies,
                 std::string subject, std::function<std::uint64_t()> needed_from)
    : executor_(executor),
      clock_(clock),
      journal_(journal),
      reader_(journal),
      copies_(std::move(copies)),
      subject_(std::move(subject)),
      needed_from_(std::move(needed_from)),
      crew_(executor),
      timer_(clock.timer()),
      retry_timer_(clock.timer()),
      hold_timer_(clock.timer()) {}

Task<> Applier::run() {
  applied_seq_ = journal_.checkpoint_seq();
  applied_time_ns_ = journal_.checkpoint_time_ns();
  crew_.add(apply_loop());
  crew_.add(checkpoint_loop());
  crew_.add(hurry_when_starved());
  co_await crew_.join();
}

void Applier::stop() {
  stopping_ = true;
  timer_->cancel();
  retry_timer_->cancel();
  hold_timer_->cancel();
  journal_.progress().notify();
}

Disk* Applier::copy(const Uuid& volume) const {
  const auto found = copies_.find(volume);
  return found == copies_.end() ? nullptr : found->second.get();
}

CopyShape Applier::copy_shape(const Uuid& volume) const {
  const Disk* disk = copy(volume);
  if (disk == nullptr) return {};
  return {disk->bytes(), disk->block()};
}

std::uint64_t Applier::copy_bytes_now(const Uuid& volume) const {
  const Disk* disk = copy(volume);
  return disk == nullptr ? 0 : disk->bytes_now();
}

/// Intakes let in writes of configured volumes only: this one was taken out of the configuration
/// afterwards, and what is left of it in the journal goes nowhere.
void Applier::note_dropped(const Record& record) {
  journal_.set_dropped(volume_of(record));
  if (!dropped_.insert(volume_of(record)).second) return;
  report::log(report::Level::warning, subject_,
              fmt::format("volume {} is not in the configuration any more: its writes from {} on "
                          "are dropped; if it comes back, its copy has to be made anew",
                          to_text(volume_of(record)), group_seq_of(record)));
}

// ---- failing

/// One line a cause, not one a try.
void Applier::fail(Error error) {
  if (!failure_ || failure_->text != error.text)
    report::log(report::Level::error, subject_, error.text);
  failure_ = std::move(error);
  failed_at_ = std::max(failed_at_, applied_seq_);
  whole_from_ = std::max(whole_from_, std::min(journal_.stored_seq(), journal_.limit_seq()));
  recovering_ = true;
  journal_.progress().notify();
}

/// What failed has been done by now, if nothing else has failed meanwhile.
void Applier::well() {
  if (!failure_ || recovering_) return;
  report::log(report::Level::notice, subject_, "the copies go on");
  failure_.reset();
  failed_at_ = 0;
  backoff_.reset();
}

Task<> Applier::recover() {
  while (!stopping_ && recovering_ && !may_step_aside()) {
    co_await retry_timer_->sleep(backoff_.next());
    if (stopping_ || may_step_aside()) co_return;
    if (auto again = reopen(); !again) {
      fail(again.error());
      continue;
    }
    applied_seq_ = journal_.checkpoint_seq();
    applied_time_ns_ = journal_.checkpoint_time_ns();
    rewinds_ += 1;
    recovering_ = false;
    journal_.progress().notify();
  }
}

Result<void> Applier::reopen() {
  for (auto& [uuid, copy] : copies_) {
    if (auto opened = copy->reopen(); !opened) return opened;
    if (!check_) continue;
    if (auto same = check_(uuid, *copy); !same) return same;
  }
  return {};
}

// ---- aside

void Applier::hold(bool at_once, Duration time, std::uint64_t at_ns) {
  if (held()) return;
  hold_ = Hold::wanted;
  at_ns_ = at_ns;
  hold_at_once_ = at_once;
  hold_time_ = time;
  retry_timer_->cancel();
  journal_.progress().notify();
}

void Applier::go_on() {
  hold_ = Hold::no;
  at_ns_ = 0;
  hold_timer_->cancel();
  journal_.progress().notify();
}

bool Applier::may_step_aside() const {
  const bool there = at_ns_ == 0 || stands() || applied_seq_ >= through();
  return hold_ == Hold::wanted && (hold_at_once_ || (!recovering_ && whole() && there));
}

Result<void> Applier::step_aside() {
  for (auto& [uuid, copy] : copies_)
    if (auto aside = copy->step_aside(); !aside) return aside;
  return {};
}

/// Copies that can't be opened are no worse off when they are left alone.
Task<> Applier::stay_aside() {
  const auto aside = step_aside();
  if (!aside) fail(aside.error());
  hold_ = aside || hold_at_once_ ? Hold::held : Hold::no;
  if (held()) co_await hold_timer_->sleep(hold_time_);
  if (held()) {
    hold_ = Hold::no;
    at_ns_ = 0;
    if (!stopping_)
      report::log(report::Level::warning, subject_, "whoever held the copies has not come back");
  }
  if (stopping_ || recovering_) co_return;
  if (auto again = reopen(); !again) fail(again.error());
}

// ---- applying

std::uint64_t Applier::through() const {
  const std::uint64_t stored = journal_.stored_seq();
  const std::uint64_t limit = std::min(stored, journal_.limit_seq());
  // Up to the limit first: what is kept there has to be all of it.
  if (applied_seq_ < limit || past() == Past::no) return limit;
  if (past() == Past::gone) return stored;
  if (ending_) return limit;
  return pressed() && !undo_full_ ? stored : limit;
}

/// Whether what this node took in then may be applied now.
bool Applier::is_due(std::uint64_t taken_in_ns) const {
  if (at_ns_ != 0) return taken_in_ns <= at_ns_;
  if (ending_ || delay_ == Duration{} || journal_.has_gap() || pressed()) return true;
  const auto delay = std::chrono::nanoseconds(delay_).count();
  return taken_in_ns + static_cast<std::uint64_t>(delay) <= clock_.realtime_ns();
}

/// The next write is there, and not due.
bool Applier::stands() const { return next_.seq == applied_seq_ + 1 && !is_due(next_.taken_in_ns); }

Task<> Applier::apply_loop() {
  while (!stopping_ && !broken_) {
    if (may_step_aside()) {
      co_await stay_aside();
      continue;
    }
    const auto done = co_await step();
    if (!done) fail(done.error());
    if (recovering_ && !broken_)
      co_await recover();
    else if (done && !*done)
      co_await journal_.progress().wait();
  }
}

/// Whether there was anything to do.
Task<Result<bool>> Applier::step() {
  using Done = Result<bool>;
  if (recovering_) co_return Done(true);
  if (journal_.limit_seq() == no_limit) undo_full_ = told_past_ = false;
  if (at_end()) co_return Done(false);
  if (wants_past()) {
    if (auto past = co_await go_past(); !past) co_return past.error();
    co_return Done(true);
  }
  if (applied_seq_ >= through() || stands()) co_return Done(false);
  if (auto applied = co_await apply_some(); !applied) co_return applied.error();
  if (applied_seq_ > failed_at_) well();
  co_return Done(true);
}

// ---- past an open bracket

Task<Result<void>> Applier::use_undo(Disk& disk) {
  undo_ = std::make_unique<Undo>(disk);
  if (journal_.limit_seq() == no_limit) co_return Result<void>{};
  co_return co_await undo_->open(undo_log());
}

Applier::Past Applier::past() const {
  if (!journal_.past_limit()) return Past::no;
  return undo_ && undo_->holds(undo_log()) ? Past::undo : Past::gone;
}

bool Applier::pressed() const {
  return journal_.starved() ||
         journal_.used_from(applied_seq_ + 1) > held_max(journal_.size_bytes());
}

bool Applier::wants_past() const {
  if (journal_.limit_seq() == no_limit || applied_seq_ < journal_.limit_seq()) return false;
  if (told_past_) return past() != Past::gone;
  return !ending_ && past() == Past::no && undo_ && pressed();
}

/// In this order: a crash in between leaves copies at the limit, and says so.
Task<Result<void>> Applier::go_past() {
  if (undo_) {
    auto ready = told_past_ ? undo_->abandon() : undo_->begin(undo_log());
    if (auto done = co_await std::move(ready); !done) {
      broken_ = done.error();
      co_return done;
    }
  }
  if (journal_.limit_seq() == no_limit) co_return Result<void>{};
  journal_.set_past_limit();
  co_return co_await journal_.persist();
}

Result<void> Applier::give_up_limit() {
  if (journal_.limit_seq() == no_limit)
    return Error{Errc::refused, "no bracket is open: the copies follow the journal"};
  told_past_ = true;
  journal_.progress().notify();
  return {};
}

// ---- the end

std::uint64_t Applier::end_seq(bool newest) const {
  return newest ? journal_.stored_seq() : std::min(journal_.stored_seq(), journal_.limit_seq());
}

bool Applier::at_end() const {
  return ending_ && !recovering_ && (applied_seq_ >= end_seq(told_past_) || stands());
}

Task<Result<void>> Applier::hand_over() {
  const std::uint64_t seq = std::min(end_seq(told_past_), stands() ? applied_seq_ : no_limit);
  if (!told_past_ && past() == Past::gone)
    co_return Error{Errc::refused,
                    fmt::format("the copies went past write {} for good: they can be handed over "
                                "with every volume's newest write only",
                                seq)};
  const bool back = !told_past_ && past() == Past::undo;
  auto stable = back ? undo_->restore(copies_) : flush_copies();
  if (auto done = co_await std::move(stable); !done) co_return done;
  journal_.hand_over(seq);
  co_return co_await journal_.persist();
}

/// What the ranges hold is kept, if it has to be. False: there is no room for it.
Task<Result<bool>> Applier::keep(const std::vector<Undo::Range>& ranges) {
  using Kept = Result<bool>;
  if (past() != Past::undo || applied_seq_ < journal_.limit_seq()) co_return Kept(true);
  const auto kept = co_await undo_->keep(copies_, ranges);
  undo_full_ = !kept && kept.error().code == Errc::full;
  if (!kept && !undo_full_) {
    broken_ = kept.error();
    co_return kept.error();
  }
  co_return Kept(!undo_full_);
}

// ---- one burst

/// One burst, and what ended it, if that needs the copies for itself.
Task<Result<void>> Applier::apply_some() {
  Burst burst;
  const Record* alone = nullptr;
  std::uint64_t seq = applied_seq_, time_ns = applied_time_ns_;
  const std::uint64_t last = through();
  while (alone == nullptr && seq < last && !burst.full()) {
    auto batch = co_await reader_.read(seq + 1);
    if (!batch) co_return batch.error();
    if (!is_due((*batch)->info.append_time_ns)) {
      next_ = {seq + 1, (*batch)->info.append_time_ns};
      break;
    }
    time_ns = (*batch)->info.append_time_ns;
    burst.keep.push_back(*batch);
    std::size_t payload_at = 0;
    bool stop = false;
    for (const Record& record : (*batch)->records()) {
      const std::size_t bytes = payload_bytes_of(record);
      const auto payload = (*batch)->payload().subspan(payload_at, bytes);
      payload_at += bytes;
      if (group_seq_of(record) <= seq) continue;
      if (group_seq_of(record) > last || burst.full()) break;
      if (record.op == CASCADE_OP_MARK) {  // changes no copy, and may be about the group
        seq = group_seq_of(record);
        continue;
      }
      const auto copy = copies_.find(volume_of(record));
      if (copy == copies_.end()) {
        note_dropped(record);
        seq = group_seq_of(record);
        continue;
      }
      if (record.op != CASCADE_OP_WRITE) {
        alone = &record;
        break;
      }
      if (auto fits = check(*copy->second, record, payload); !fits) co_return fits;
      if (!burst.add(*copy->second, range_of(record), payload)) {
        stop = true;
        break;
      }
      seq = group_seq_of(record);
    }
    if (stop) break;
  }
  if (auto kept = co_await keep(burst.ranges); !kept || !*kept)
    co_return kept ? Result<void>{} : kept.error();
  if (auto written = co_await write_out(burst); !written) co_return written;
  applied_seq_ = std::max(applied_seq_, seq);
  applied_time_ns_ = time_ns;
  if (alone != nullptr) {
    if (auto settled = co_await settle_alone(*alone); !settled) co_return settled;
  }
  journal_.progress().notify();
  co_return Result<void>{};
}

Result<void> Applier::check(const Disk& disk, const Record& record,
                            std::span<const std::byte> payload) const {
  if (!payload_matches(record, payload))
    return Error{Errc::corrupt, fmt::format("write {} is damaged: its payload does not match its "
                                            "checksum; nothing after it is applied",
                                            group_seq_of(record))};
  if (!inside(record, disk.bytes())) return past_the_end(record, disk);
  return {};
}

/// All copies at once; the rule is one, which needs no coroutine of its own.
Task<Result<void>> Applier::write_out(Burst& burst) {
  if (burst.writes.empty()) co_return Result<void>{};
  const auto own = burst.writes.begin();
  Crew crew(executor_);
  for (auto other = std::next(own); other != burst.writes.end(); ++other)
    crew.add(other->second.put());
  co_await own->second.put();
  co_await crew.join();
  for (auto& [volume, writes] : burst.writes)
    if (!writes.done) co_return writes.done;
  co_return Result<void>{};
}

/// What is before it is in the copies, and what is behind it is not. Unless there is no room to
/// keep what it overwrites, it is applied after that.
Task<Result<void>> Applier::settle_alone(const Record& record) {
  if (record.op == CASCADE_OP_VERIFY) {
    co_await verify(record);
  } else if (changes_copy(record)) {
    const std::vector<Undo::Range> range{range_of(record)};  // named, for g++ 12
    const auto kept = co_await keep(range);
    if (!kept || !*kept) co_return kept ? Result<void>{} : kept.error();
    if (auto zeroed = co_await zero(record); !zeroed) co_return zeroed;
  }
  applied_seq_ = group_seq_of(record);
  co_return Result<void>{};
}

/// A copy that was applied to before may hold more than the record knows of, and one behind a
/// bracket less.
Task<> Applier::verify(const Record& record) {
  using Outcome = Verification::Outcome;
  if (verification_ == nullptr) co_return;
  Disk& copy = *copies_.find(volume_of(record))->second;
  if (!whole() || !inside(record, copy.bytes())) {
    verification_->note(record, Outcome::skipped, clock_.realtime_ns());
    co_return;
  }
  AlignedBuffer content(length_of(record));
  const std::uint64_t begin = sector_of(record) * CASCADE_SECTOR_BYTES;
  const auto read = co_await copy.read(begin, content.span());
  const bool same = read && crc32c(content.span()) == le32toh(record.payload_crc);
  verification_->note(record, same ? Outcome::same : Outcome::differs, clock_.realtime_ns());
  if (same) co_return;
  report::log(differing_lines_, clock_.now(), report::Level::error, subject_,
              fmt::format("{}: {} bytes at {} {}", copy.path(), length_of(record), begin,
                          read ? "are not what the primary's volume holds"
                               : "can't be read: " + read.error().text));
}

/// DISCARD too leaves zeroes: copies stay identical whatever their storage does with a discard.
Task<Result<void>> Applier::zero(const Record& record) {
  const auto copy = copies_.find(volume_of(record));
  if (!inside(record, copy->second->bytes())) co_return past_the_end(record, *copy->second);
  co_return co_await copy->second->zero(sector_of(record) * CASCADE_SECTOR_BYTES, length_of(record),
                                        (record.flags & CASCADE_FLAG_NOUNMAP) == 0);
}

// ---- forgetting

Task<> Applier::checkpoint_loop() {
  while (!stopping_ && !broken_ && !journal_.failure()) {
    co_await timer_->sleep(checkpoint_interval);
    if (undo_full_ && undo_->has_grown()) {
      undo_full_ = false;
      journal_.progress().notify();
    }
    if (next_.seq == applied_seq_ + 1 && !stands()) journal_.progress().notify();
    const bool worth = applied_seq_ > journal_.checkpoint_seq() || keep_from() > kept_from_;
    if (stopping_ || recovering_ || !worth) continue;
    if (auto done = co_await checkpoint(); !done) fail(done.error());
  }
}

/// A journal without space can't wait for the next second.
Task<> Applier::hurry_when_starved() {
  while (!stopping_ && !broken_) {
    co_await journal_.progress().wait();
    if (journal_.starved() || journal_.failure()) timer_->cancel();
  }
}

/// First group_seq that is still needed: to apply it again after a crash, or to ship it.
std::uint64_t Applier::keep_from() const { return std::min(applied_seq_ + 1, needed_from_()); }

Task<Result<void>> Applier::flush_copies() {
  for (auto& [uuid, disk] : copies_)
    if (auto flushed = co_await disk->flush(); !flushed) co_return flushed;
  co_return Result<void>{};
}

Task<Result<void>> Applier::checkpoint() {
  const std::uint64_t applied = applied_seq_, applied_time_ns = applied_time_ns_;
  const std::uint64_t keep = keep_from();
  const unsigned rewinds = rewinds_;
  if (applied > journal_.checkpoint_seq()) {
    if (auto flushed = co_await flush_copies(); !flushed) co_return flushed;
  }
  // What was flushed is not all that had been applied, if a copy failed meanwhile.
  if (recovering_ || rewinds != rewinds_) co_return Result<void>{};
  kept_from_ = keep;
  auto done = co_await journal_.checkpoint(applied, keep, applied_time_ns);
  if (done && applied >= failed_at_) well();
  co_return done;
}

Task<Result<void>> Applier::settle() {
  if (recovering_) co_return *failure_;
  co_return co_await checkpoint();
}

}  // namespace cascade
