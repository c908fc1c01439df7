// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hub's side of a remote that was away for longer than the journal holds.
//
//   journal nearly full ─► falls behind: ranges of the oldest writes ─► dirty bitmap; then the
//                          tail moves past them, and primaries never wait
//   the remote is back ──► catches up: of marked regions of the hub's copies what the remote's hold
//                          otherwise ─► journal, among the writes; when all are there, the mark
//                          that closes the remote's bracket
//
// At each moment the remote holds a write, or the journal does, or its regions are marked (on disk,
// before the journal gives it up). A mark goes when the remote has stored the copy of the region,
// and is known never to come back with less (RemoteBehind.seq, on disk before the mark goes).
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/io/disk.hpp"
#include "daemon/path/applier.hpp"
#include "daemon/path/bracket.hpp"
#include "daemon/path/journal.hpp"
#include "daemon/path/journal_feed.hpp"
#include "daemon/path/progress.hpp"
#include "lib/config/config.hpp"
#include "lib/journal/dirty_map.hpp"

#include <bitset>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>

namespace cascade {

class CatchUp {
 public:
  /// What it stands on; all of it outlives it.
  struct Parts {
    const GroupConfig& group;
    Clock& clock;
    Journal& journal;
    Disk& journal_disk;
    Applier& applier;
    JournalFeed& feed;
    Bracket& bracket;
  };
  /// `received_of` gives the last volume_seq that was appended of a volume.
  CatchUp(const Parts& parts, std::function<std::uint64_t(const Uuid&)> received_of);

  /// Once, when the copies are known and before run(): goes on with the bitmap that the journal
  /// names. Errors of the journal's device.
  Task<Result<void>> open();
  /// Until stop(), or the journal's failure. What else fails is tried again.
  Task<> run();
  void stop();

  /// First group_seq that the journal keeps for the remote.
  std::uint64_t needed_from() const;

  /// The operator's word: the remote is another one, or what its copies hold is not known. All of
  /// every volume is compared with it, and what differs copied, as soon as no bracket is open here.
  /// Errc::refused before the group's first write.
  Result<void> replace_remote();
  /// It was asked for, and is not on the disk yet: a crash would forget it.
  bool replacing() const { return replacing_; }

  /// Whether the remote lacks what the journal does not hold any more.
  bool behind() const { return map_.has_value(); }
  /// Bytes of the regions that have to be copied, at most.
  std::uint64_t out_of_sync_bytes() const { return map_ ? map_->marked_bytes() : 0; }
  /// Bytes of them that the remote had already, since this daemon began or it fell behind.
  std::uint64_t same_bytes() const { return same_bytes_; }
  /// Why it does not go on, as long as it does not.
  const std::optional<Error>& failure() const { return failure_; }
  /// Until all of them are; nothing while it is not known.
  std::optional<double> seconds_left();

 private:
  /// A part of a marked region that will be copied soon, or turn out to be the same.
  struct Part {
    DirtyMap::Region region;
    std::uint64_t begin = 0;  // bytes of the volume
    std::uint64_t bytes = 0;
    bool last = false;   // of its region
    bool asked = false;  // the remote was asked what it has there
  };
  /// One on its way from the copy into the journal.
  struct Piece {
    Part part;
    std::optional<ContentSum> theirs{};  // what the remote has there; nothing: not known
    std::uint64_t through = 0;           // group_seq that the copy has to hold before it is read
    // Sectors that were written behind `through`: those come to the remote by themselves.
    std::bitset<limits::record_payload_bytes_max / CASCADE_SECTOR_BYTES> written{};
  };
  /// A piece that was appended.
  struct Flight {
    std::size_t index = 0;  // of its region
    bool last = false;
    std::uint64_t seq = 0;  // when the remote has stored this it has the piece
    std::uint64_t bytes = 0;
  };

  DirtyMap empty_map() const;
  std::uint64_t next_map() const;
  Task<Result<bool>> step();
  bool must_fall_behind() const;
  Task<Result<bool>> forget_remote();
  bool separated();
  void append_own(Record record);
  Task<Result<void>> fall_behind();
  Task<Result<std::uint64_t>> mark_oldest(std::uint64_t from);
  void drop_flights();
  bool floor_lags() const;
  Task<Result<void>> raise_floor();
  Task<Result<void>> lay_out_map(RemoteBehind behind);
  Task<Result<void>> write_map(std::uint64_t map);
  bool save_due() const;
  Task<Result<void>> save();
  void land();
  bool may_copy() const;
  std::optional<Part> cut_part();
  void forget_parts();
  void ask_ahead();
  std::optional<Piece> next_piece();
  Task<Result<void>> copy_piece();
  void append_piece(std::span<const std::byte> content);
  void append_records(const Piece& piece, std::span<const std::byte> content);
  void note_appended(std::span<const Record> records);
  void append_caught_up();
  bool remote_is_whole() const;
  Task<Result<void>> end();

  Parts p_;
  std::unique_ptr<Timer> retry_timer_;
  std::function<std::uint64_t(const Uuid&)> received_of_;
  std::optional<DirtyMap> map_;             // while it is behind
  std::uint64_t given_up_ = 0;              // nothing before this is kept for the remote
  std::optional<std::uint64_t> reading_{};  // kept while it is being read
  std::deque<Part> parts_;
  std::uint64_t asked_session_ = 0;  // of the feed: in which they were asked for
  std::uint64_t same_bytes_ = 0;
  std::optional<Piece> piece_{};
  bool replacing_ = false;
  bool all_marked_ = false;      // for that, on disk
  std::uint64_t marks_[2] = {};  // group_seq of those that replace_remote() needs; 0: none yet
  std::deque<Flight> flights_;
  std::uint64_t flying_bytes_ = 0;
  std::size_t cursor_ = 0;          // region to go on with
  std::uint64_t cursor_bytes_ = 0;  // of it, done
  std::uint64_t closing_ = 0;       // group_seq of the mark that closes the bracket; 0: none
  bool unsaved_ = false;            // marks have gone that are still on disk
  Duration saved_{};
  Progress progress_;
  std::optional<Error> failure_;
  bool stopping_ = false;
};

}  // namespace cascade
