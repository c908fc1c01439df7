// SPDX-License-Identifier: GPL-2.0-or-later
//
// The journal of one consistency group on this node: takes records in one order, makes them
// durable by group commit, keeps them for any number of readers, forgets what nobody needs.
//
//   append() ─► pending ─ seal ─► batch in memory ─ one durable write ─► stored
//   received_seq                  sealed_seq                             stored_seq      (all only
//   grow)
//
// A batch is what arrived while the previous one was being written; nothing waits for more.
// The first error of the device ends it: nothing is stored after it, readers may go on. One thread.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/io/disk.hpp"
#include "daemon/path/batch.hpp"
#include "daemon/path/journal_index.hpp"
#include "lib/base/latency.hpp"
#include "lib/journal/recover.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace cascade {

/// Where the journal of a remote goes on that was behind by more than the hub's journal held.
struct Jump {
  std::uint64_t seq = 0;  // group_seq through which nothing more comes
  History history = 0;    // through `seq`
};

/// Records that came in one frame, numbered, with the memory that holds them.
struct Incoming {
  std::unique_ptr<std::byte[]> body;
  std::size_t body_bytes = 0;
  std::span<Record> records;           // in `body`
  std::span<const std::byte> payload;  // in `body`
  History history = 0;                 // before its first record; filled by append()
  std::optional<Jump> jump = {};       // instead of records
  TimePoint received = {};             // when it came; filled by append()

  /// Memory that it holds, however little of the frame is wanted.
  std::size_t held_bytes() const { return sizeof(Incoming) + body_bytes; }
};

/// In memory of their own; `payload` is that of the records, in their order.
Incoming make_incoming(std::span<const Record> records, std::span<const std::byte> payload);

class Journal {
 public:
  /// `volumes`: those of the configuration; others are remembered while the journal holds writes of
  /// theirs.
  Journal(const Executor& executor, Disk& disk, Clock& clock, const Uuid& group,
          std::set<Uuid> volumes, std::uint64_t cache_bytes);

  /// Recovers to the last whole batch and begins a new epoch. Called once, before anything else.
  /// Of what its index knows it reads the index alone: damage there is found by whoever reads it.
  /// `on_batch` is told of every batch found, and of those that the index knows, many as one.
  /// Errors as of choose_superblock() and Recovery.
  Task<Result<void>> open(const std::function<void(const BatchInfo&)>& on_batch);

  /// Group commit, until stop() and until all that was appended is stored (or has failed).
  Task<> run();
  void stop();

  /// What is pending exceeds its bound: wait for progress() before appending more.
  bool crowded() const;
  /// Takes records with group_seq next_seq(), next_seq() + 1, ...
  void append(Incoming incoming);
  /// What lies between what was received and `jump` comes as copies of regions: the bracket opens.
  void append_jump(const Jump& jump);
  /// `told` is called for records that have been appended.
  void on_appended(std::function<void(std::span<const Record>)> told) {
    appended_ = std::move(told);
  }
  /// `told` is called for each batch when it is sealed.
  void on_sealed(std::function<void(const BatchInfo&)> told) { told_ = std::move(told); }
  /// The batch that comes next, or one that is under way, can be the journal's first.
  void may_begin_next() { index_->enter_next(); }
  std::uint64_t next_seq() const { return received_seq_ + 1; }

  std::uint64_t received_seq() const { return received_seq_; }
  std::uint64_t sealed_seq() const { return sealed_seq_; }
  std::uint64_t stored_seq() const { return stored_seq_; }
  /// A bracket is open in what is stored: nothing past this may be applied. Else no_limit.
  std::uint64_t limit_seq() const { return places_.limit_seq(); }
  /// Copies that hold everything through this, and nothing past limit_seq(), are a consistent
  /// image: the end of the last bracket that was closed, or what was stored at opening.
  std::uint64_t whole_from() const { return whole_from_; }
  /// How the volumes stand in what is stored.
  const Places& places() const { return places_; }
  /// As of what was received, too: what was jumped over has not been made up for.
  bool has_gap() const { return places_.gap().last != 0 || jump_pending(); }
  /// What places() says of gaps is not the newest.
  bool jump_pending() const;
  /// The history hash through received_seq().
  History received_history() const { return received_history_; }
  /// The history hash through `seq`, first_seq() - 1 <= seq <= sealed_seq().
  Task<Result<History>> history_at(std::uint64_t seq);
  const Uuid& id() const { return superblock_.journal; }
  /// Id of the journal of the remote that follows this one; nil as long as none has. Takes effect
  /// at once, on disk with the next checkpoint, and so before anything is given up for its sake.
  const Uuid& follower() const { return superblock_.follower; }
  void set_follower(const Uuid& journal) { superblock_.follower = journal; }
  /// Any journal may follow from now on. On disk with persist().
  void forget_follower();
  /// Hub: whether the remote lacks what the journal does not hold any more, and since where. On
  /// disk with persist() or the next checkpoint.
  const RemoteBehind& behind() const { return superblock_.behind; }
  void set_behind(const RemoteBehind& behind);
  /// The copies of this node may hold writes past the limit of the open bracket. On disk with
  /// persist().
  bool past_limit() const {
    return limit_seq() != no_limit && superblock_.past_limit == limit_seq();
  }
  void set_past_limit();
  /// Whether the group was promoted on this node. On disk with persist().
  const Takeover& takeover() const { return superblock_.takeover; }
  void set_takeover(const Takeover& takeover);
  /// After set_takeover(): the copies are as of `seq`, on stable storage, and not this journal's
  /// any more. On disk with persist().
  void hand_over(std::uint64_t seq);
  /// When this node took in what checkpoint_seq() is, CLOCK_REALTIME; 0: not known.
  std::uint64_t checkpoint_time_ns() const { return superblock_.applied_time_ns; }
  /// Whether it was made by give_up(), and nothing was written since.
  bool rejoins() const { return superblock_.rejoins && received_seq_ == 0; }
  /// After close(), instead of any other use: it is a new one, which holds nothing; one write.
  Task<Result<void>> give_up();
  /// Likewise, but it begins with what the copies of this node hold. Errors as of held_by_copies().
  Task<Result<void>> begin_from_copies();
  /// The history hash before first_seq().
  History tail_history() const { return superblock_.tail_history; }
  /// Last volume_seq of each volume that is on stable storage.
  std::uint64_t stored_volume_seq(const Uuid& volume) const;
  /// Where the volume's stored writes came from.
  VolumeSource source(const Uuid& volume) const;
  /// The volume's next writes come from there. Takes effect at once, on disk with persist():
  /// before that, none of them may be stored.
  void set_source(const Uuid& volume, const VolumeSource& source);
  /// The device of this node's copy, as it was when it was opened last. On disk with persist().
  CopyDevice copy_device(const Uuid& volume) const;
  void set_copy_device(const Uuid& volume, const CopyDevice& copy);
  /// Whether writes of the volume were left out of this node's copy. On disk with the checkpoint
  /// that passes them.
  bool dropped(const Uuid& volume) const;
  void set_dropped(const Uuid& volume);
  /// Whether the volume's primary may go on alone by now. On disk with persist().
  bool leased(const Uuid& volume) const;
  void set_leased(const Uuid& volume, bool leased);
  /// The volume's size, as its primary last said; 0: not known. On disk with persist().
  std::uint64_t volume_bytes(const Uuid& volume) const { return place(volume).bytes; }
  void set_volume_bytes(const Uuid& volume, std::uint64_t bytes);
  /// As the group's witness: what this node has granted, and the petition by which a promotion was
  /// asked for, or withdrawn, last. On disk with persist().
  const Grant& grant(const Uuid& volume) const { return place(volume).grant; }
  void set_grant(const Uuid& volume, const Grant& grant);
  const Uuid& granted() const { return superblock_.granted; }
  void set_granted(const Uuid& petition);
  std::uint64_t granted_time_ns() const { return superblock_.granted_time_ns; }
  /// The petition by which the witness was asked for a promotion, until that is decided or the
  /// witness knows that it is not. Nil: none. On disk with persist().
  const Uuid& petition() const { return superblock_.petition; }
  void set_petition(const Uuid& name);
  /// Writes the superblock if there is something that it lacks.
  Task<Result<void>> persist();
  /// Volumes that are not configured and have writes in the journal.
  std::vector<Uuid> leaving_volumes() const;
  /// Notified when any of the numbers above changes, or failure() is set.
  Signal& progress() { return progress_; }
  const std::optional<Error>& failure() const { return failure_; }
  /// The last run was not closed in order.
  bool was_crashed() const { return was_crashed_; }

  /// For JournalReader: the batch that holds `seq` if it is in memory, as all are that are not
  /// stored yet; else the position of it or of one before it.
  BatchPtr cached(std::uint64_t seq) const;
  std::uint64_t position_before(std::uint64_t seq) const;
  /// From a record's arrival until it was stable, by the oldest of a batch.
  const LatencyHistogram& latency() const { return latency_; }
  /// Where a position is on the device, in bytes, and how far one can read on from there.
  std::uint64_t offset_of(std::uint64_t position) const;
  std::uint64_t written_end(std::uint64_t position) const;
  Disk& disk() { return disk_; }
  /// First group_seq that can still be read.
  std::uint64_t first_seq() const { return superblock_.tail_seq; }

  /// Records in the superblock that the copies hold everything through `applied_seq` on stable
  /// storage, and gives up what lies before `keep_seq`. Not called twice at a time.
  Task<Result<void>> checkpoint(std::uint64_t applied_seq, std::uint64_t keep_seq,
                                std::uint64_t applied_time_ns = 0);
  std::uint64_t checkpoint_seq() const { return superblock_.applied_seq; }
  /// A batch waits for space: checkpoint soon.
  bool starved() const { return starved_; }
  /// Last superblock of an orderly end: no recovery scan will find anything behind the head.
  Task<Result<void>> close();

  const std::string& path() const { return disk_.path(); }
  std::uint64_t size_bytes() const { return superblock_.data_bytes; }
  std::uint64_t used_bytes() const { return head_.position - free_before_; }
  /// Of that, about, what is needed if nothing before `seq` is.
  std::uint64_t used_from(std::uint64_t seq) const;
  /// Grows with each superblock that is written.
  std::uint64_t superblock_generation() const { return superblock_.generation; }

 private:
  const VolumePlace& place(const Uuid& volume) const { return places_.at(volume); }
  void enqueue(Incoming incoming);
  void follow(const Record& record);
  template <class T>
  void note(const Uuid& volume, T VolumePlace::*what, const T& value);
  Task<Result<Superblock>> read_superblock(std::uint64_t offset);
  Task<Result<void>> write_superblock();
  Task<Result<void>> write_next_superblock();
  Task<Result<void>> become(Superblock& fresh);
  void forget_volumes();
  Task<Result<std::optional<BatchInfo>>> load_index();
  Task<Result<std::vector<IndexBlock>>> read_indexes(std::optional<BatchInfo>& last);
  Task<Result<BatchInfo>> read_tail();
  void tell_indexed(std::uint64_t end_seq,
                    const std::function<void(const BatchInfo&)>& on_batch) const;
  Task<Result<void>> walk(const std::optional<BatchInfo>& index,
                          const std::function<void(const BatchInfo&)>& on_batch);
  std::size_t select_pending() const;
  std::shared_ptr<Batch> seal(std::size_t frames);
  Task<bool> commit(std::shared_ptr<Batch> batch);
  Task<bool> write_batch(const Batch& batch);
  Task<bool> commit_jump();
  Task<bool> write_bare(BatchInfo info, const IndexBlock* index = nullptr);
  Task<bool> save_index();
  Task<bool> skip_to_start_if_needed(std::uint64_t bytes);
  Task<bool> wait_for_space(std::uint64_t bytes);
  bool has_space(std::uint64_t bytes) const;
  bool is_indexed() const;
  void advance_head(const BatchInfo& info);
  void note_stored(const Batch& batch);
  void fail(Error error);
  void cache(BatchPtr batch);

  Disk& disk_;
  Clock& clock_;
  Uuid group_;
  Superblock superblock_;
  Recovery::Head head_;
  std::optional<JournalIndex> index_;
  std::set<Uuid> volumes_;
  Places places_;  // through stored_seq_

  std::deque<Incoming> pending_;
  TimePoint sealed_since_{};  // when the oldest of the batch under way came
  LatencyHistogram latency_;
  std::size_t pending_bytes_ = 0;
  std::deque<BatchPtr> cache_;
  std::size_t cached_bytes_ = 0;
  std::size_t cache_bytes_max_;

  std::uint64_t free_before_ = 0;  // position: the tail of the superblock that is on disk
  std::uint64_t received_seq_ = 0;
  std::uint64_t sealed_seq_ = 0;
  std::uint64_t stored_seq_ = 0;
  std::uint64_t whole_from_ = 0;
  History received_history_ = 0;
  std::uint64_t changes_ = 0;  // of what only persist() writes at once
  std::uint64_t changes_saved_ = 0;
  bool writing_superblock_ = false;
  bool stopping_ = false;
  bool starved_ = false;
  bool was_crashed_ = false;
  std::optional<Error> failure_;
  std::function<void(std::span<const Record>)> appended_;
  std::function<void(const BatchInfo&)> told_;
  Signal arrived_;
  Signal progress_;
  Signal space_;
  Signal superblock_written_;
};

}  // namespace cascade
