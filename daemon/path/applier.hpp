// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes the journal into this node's copies, in order: writes that do not overlap go together,
// those that do wait for each other. Every payload's checksum is verified first. From time to time
// the copies are flushed and the journal is told what it may forget.
//
// What fails is tried again: the copies are opened anew, and everything since the last checkpoint
// is applied once more, as after a restart, for nobody knows what of it a failed device still has.
//
// While a bracket is open the copies stay at its limit. Where the journal can't hold that, they go
// past it: with an undo device, on which is kept what they held at the limit, by themselves;
// without one when they are told to, and then they are no consistent image until the bracket
// closes.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/path/backoff.hpp"
#include "daemon/path/intake.hpp"
#include "daemon/path/journal_reader.hpp"
#include "daemon/path/undo.hpp"
#include "daemon/path/verification.hpp"
#include "daemon/report/log.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace cascade {

class Applier {
 public:
  using Copies = Undo::Copies;
  /// Where the copies are while a bracket is open.
  enum class Past {
    no,    // at its limit, or on the way there
    undo,  // past it; what they held there is kept
    gone,  // past it, for good
  };

  /// `needed_from` gives the first group_seq that somebody else (the shipper) still needs.
  Applier(const Executor& executor, Clock& clock, Journal& journal, Copies copies,
          std::string subject, std::function<std::uint64_t()> needed_from);

  /// Before run(); `disk` outlives it. Errors of the device.
  Task<Result<void>> use_undo(Disk& disk);
  /// The operator's word: what the copies held at the limit of the open bracket is not needed.
  /// Errc::refused if none is open.
  Result<void> give_up_limit();

  /// Before run(): a write is applied once this node has had it for so long; sooner where the
  /// journal has no room for that, or copies of what was missing have to be worked off.
  void delay(Duration time) { delay_ = time; }
  /// It has no room, and they are applied sooner.
  bool delay_is_short() const { return delay_ != Duration{} && pressed(); }

  /// Before run(): nothing more comes, and the copies are to be handed over, as of the limit of the
  /// open bracket or of the newest write. They go no further; nor past what this node took in
  /// through `at_ns` (CLOCK_REALTIME), if that is not 0.
  void end_at(bool newest, std::uint64_t at_ns = 0) {
    ending_ = true;
    told_past_ = newest;
    at_ns_ = at_ns;
  }
  /// Whether they are there.
  bool at_end() const;
  /// group_seq of where they are to be, of what is stored now.
  std::uint64_t end_seq(bool newest) const;
  /// After run(), at the end: what the copies hold past the limit is undone, all is on stable
  /// storage, and the journal says so. Errc::refused if they are no image of one moment.
  Task<Result<void>> hand_over();

  /// The copies are left alone, as of a whole point or (at_once) of any, from held() until go_on(),
  /// and no longer than `time`: mappings may be put over them, or taken away. With `at_ns` as of
  /// what this node took in through then (CLOCK_REALTIME), whatever the delay.
  void hold(bool at_once, Duration time, std::uint64_t at_ns = 0);
  bool held() const { return hold_ == Hold::held; }
  /// Whether they are to be.
  bool holding() const { return hold_ != Hold::no; }
  void go_on();

  /// `check` says whether a copy that was opened anew is the one that it was.
  void check_with(std::function<Result<void>(const Uuid&, const Disk&)> check) {
    check_ = std::move(check);
  }

  /// Where to note what comparing the copies finds; before run(). `verification` outlives it.
  void note_in(Verification& verification) { verification_ = &verification; }

  /// After the journal is open. Until stop(), or until the undo device fails.
  Task<> run();
  void stop();
  /// Flushes the copies and writes the superblock; for an orderly end, after run() has returned.
  Task<Result<void>> settle();

  std::uint64_t applied_seq() const { return applied_seq_; }
  /// When this node took that in, CLOCK_REALTIME; 0: not known.
  std::uint64_t applied_time_ns() const { return applied_time_ns_; }
  /// Whether the copies are a consistent image of the group now, not on the way to the next one.
  bool whole() const {
    return applied_seq_ >= std::max(journal_.whole_from(), whole_from_) && past() == Past::no;
  }
  Past past() const;
  /// Null if there is none.
  const Undo* undo() const { return undo_.get(); }
  /// The undo device has no room for what comes next.
  bool undo_full() const { return undo_full_; }
  /// Why the copies don't go on; as long as they do not.
  const std::optional<Error>& failure() const { return failure_; }
  /// The undo device failed: what was kept on it is not known any more.
  const std::optional<Error>& broken() const { return broken_; }
  /// How often the copies went back to the last checkpoint.
  unsigned rewinds() const { return rewinds_; }
  CopyShape copy_shape(const Uuid& volume) const;
  /// How large the volume's copy is by now; 0: not known.
  std::uint64_t copy_bytes_now(const Uuid& volume) const;
  /// Null if this node has none. What it holds is as of applied_seq(), or on the way to the next.
  Disk* copy(const Uuid& volume) const;

 private:
  struct Burst;
  enum class Hold { no, wanted, held };

  Task<> apply_loop();
  Task<> checkpoint_loop();
  Task<> hurry_when_starved();
  Task<Result<bool>> step();
  Task<> recover();
  Task<> stay_aside();
  bool may_step_aside() const;
  Result<void> step_aside();
  Result<void> reopen();
  Task<Result<void>> apply_some();
  std::uint64_t through() const;
  bool is_due(std::uint64_t taken_in_ns) const;
  bool stands() const;
  UndoLog undo_log() const { return {journal_.id(), journal_.limit_seq()}; }
  bool pressed() const;
  bool wants_past() const;
  Task<Result<void>> go_past();
  Task<Result<bool>> keep(const std::vector<Undo::Range>& ranges);
  void note_dropped(const Record& record);
  Result<void> check(const Disk& disk, const Record& record,
                     std::span<const std::byte> payload) const;
  Task<Result<void>> write_out(Burst& burst);
  Task<Result<void>> settle_alone(const Record& record);
  Task<Result<void>> zero(const Record& record);
  Task<> verify(const Record& record);
  Task<Result<void>> flush_copies();
  Task<Result<void>> checkpoint();
  std::uint64_t keep_from() const;
  void fail(Error error);
  void well();

  Executor executor_;
  Clock& clock_;
  Journal& journal_;
  JournalReader reader_;
  Copies copies_;
  std::string subject_;
  std::function<std::uint64_t()> needed_from_;
  Crew crew_;
  std::unique_ptr<Timer> timer_;
  std::unique_ptr<Timer> retry_timer_;
  std::unique_ptr<Timer> hold_timer_;
  std::function<Result<void>(const Uuid&, const Disk&)> check_;
  Verification* verification_ = nullptr;
  report::Budget differing_lines_;
  std::uint64_t applied_seq_ = 0;
  std::uint64_t applied_time_ns_ = 0;
  std::uint64_t kept_from_ = 0;  // of the last checkpoint
  std::set<Uuid> dropped_;       // volumes whose writes have no copy any more
  std::unique_ptr<Undo> undo_;
  bool undo_full_ = false;  // while past() is undo
  bool told_past_ = false;  // by the operator, of the bracket that is open
  bool ending_ = false;     // end_at()
  Duration delay_{};
  std::uint64_t at_ns_ = 0;  // of end_at() or hold(): no further; 0: no such moment
  // The next write that was not due when it was looked at.
  struct {
    std::uint64_t seq = 0;
    std::uint64_t taken_in_ns = 0;
  } next_;
  std::optional<Error> failure_;
  std::optional<Error> broken_;
  bool recovering_ = false;       // until the copies have been opened anew
  std::uint64_t failed_at_ = 0;   // applied_seq of the last failure
  std::uint64_t whole_from_ = 0;  // what was under way then may be in the copies in part
  Backoff backoff_ = Backoff::for_devices();
  unsigned rewinds_ = 0;
  Hold hold_ = Hold::no;
  bool hold_at_once_ = false;
  Duration hold_time_{};
  bool stopping_ = false;
};

}  // namespace cascade
