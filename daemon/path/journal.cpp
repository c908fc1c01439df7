// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/journal.hpp"

#include "daemon/path/journal_reader.hpp"
#include "daemon/report/log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace cascade {
namespace {

// Frames waiting for the batch that is being formed: two batches' worth, so that the next one is
// complete when the disk is ready for it.
constexpr std::size_t pending_bytes_max = 2 * limits::batch_payload_bytes_max;

// What a start after a crash may have to read behind the index that the superblock knows.
constexpr std::uint64_t unknown_bytes_max = 256 * 1024 * 1024;

}  // namespace

Incoming make_incoming(std::span<const Record> records, std::span<const std::byte> payload) {
  Incoming in;
  in.body_bytes = records.size_bytes() + payload.size();
  in.body = std::make_unique_for_overwrite<std::byte[]>(in.body_bytes);
  std::memcpy(in.body.get(), records.data(), records.size_bytes());
  in.records = {reinterpret_cast<Record*>(in.body.get()), records.size()};
  in.payload = {in.body.get() + records.size_bytes(), payload.size()};
  if (!payload.empty())
    std::memcpy(in.body.get() + records.size_bytes(), payload.data(), payload.size());
  return in;
}

Journal::Journal(const Executor& executor, Disk& disk, Clock& clock, const Uuid& group,
                 std::set<Uuid> volumes, std::uint64_t cache_bytes)
    : disk_(disk),
      clock_(clock),
      group_(group),
      volumes_(std::move(volumes)),
      cache_bytes_max_(cache_bytes),
      arrived_(executor),
      progress_(executor),
      space_(executor),
      superblock_written_(executor) {}

// ---- opening

Task<Result<Superblock>> Journal::read_superblock(std::uint64_t offset) {
  if (disk_.bytes() < offset + superblock_bytes)
    co_return Error{Errc::not_found, "the device ends before the superblock"};
  AlignedBuffer buffer(superblock_bytes);
  if (auto read = co_await disk_.read(offset, buffer.span()); !read) co_return read.error();
  co_return decode_superblock(buffer.span().first<superblock_bytes>());
}

Task<Result<void>> Journal::open(const std::function<void(const BatchInfo&)>& on_batch) {
  const auto a = co_await read_superblock(superblock_offset(0));
  const auto b = co_await read_superblock(superblock_offset(1));
  auto chosen = choose_superblock(a, b, group_, disk_.bytes(), disk_.path());
  if (!chosen) co_return chosen.error();
  for (const auto* copy : {&a, &b})
    if (!*copy)
      report::log(report::Level::warning, disk_.path(),
                  fmt::format("one copy of the superblock is unusable ({}); the other one is taken",
                              copy->error().text));
  superblock_ = std::move(*chosen);
  index_.emplace(superblock_.data_bytes);
  was_crashed_ = !superblock_.clean;
  const auto index = co_await load_index();
  if (!index) co_return index.error();
  if (*index) tell_indexed((*index)->first_seq, on_batch);
  if (auto walked = co_await walk(*index, on_batch); !walked) co_return walked.error();

  free_before_ = superblock_.tail_position;
  received_seq_ = sealed_seq_ = stored_seq_ = head_.seq - 1;
  received_history_ = head_.history;
  superblock_.epoch += 1;
  whole_from_ = std::min(stored_seq_, limit_seq());
  superblock_.clean = false;
  superblock_.indexed = true;
  // Both copies: whichever is lost later, the other one knows of this opening.
  if (auto first = co_await write_superblock(); !first) co_return first;
  co_return co_await write_superblock();
}

/// The header of the last index that the superblock knows: all that lies before is in index_.
/// Nothing: the journal has to be read from its tail on.
Task<Result<std::optional<BatchInfo>>> Journal::load_index() {
  using Answer = Result<std::optional<BatchInfo>>;
  if (!superblock_.index || *superblock_.index < superblock_.tail_position)
    co_return Answer(std::nullopt);
  std::optional<BatchInfo> last;
  auto blocks = co_await read_indexes(last);
  Result<BatchInfo> tail = Error{Errc::corrupt, ""};
  if (blocks)
    tail = co_await read_tail();
  else
    tail = blocks.error();
  if (!tail && tail.error().code == Errc::corrupt) {
    report::log(report::Level::warning, disk_.path(),
                fmt::format("{}; all of the journal is read instead", tail.error().text));
    co_return Answer(std::nullopt);
  }
  if (!tail) co_return tail.error();
  std::reverse(blocks->begin(), blocks->end());
  const IndexEntry begin{superblock_.tail_seq,         superblock_.tail_position,
                         superblock_.tail_number,      superblock_.tail_history,
                         tail->append_time_ns,         0,
                         superblock_.tail_previous_crc};
  index_->restore(begin, *blocks, last->position);
  co_return Answer(last);
}

/// From the last one back to the tail; `last` is the header of that.
Task<Result<std::vector<IndexBlock>>> Journal::read_indexes(std::optional<BatchInfo>& last) {
  std::vector<IndexBlock> blocks;
  AlignedBuffer buffer(journal_block);
  const auto block = buffer.span().first<journal_block>();
  auto position = superblock_.index;
  while (position && *position >= superblock_.tail_position) {
    if (auto read = co_await disk_.read(offset_of(*position), block); !read) co_return read.error();
    auto index = decode_index(block, superblock_.journal, *position);
    if (!index) co_return index.error();
    if (!last) last = *peek_batch(block, superblock_.journal);
    position = index->previous;
    blocks.push_back(std::move(*index));
  }
  co_return blocks;
}

/// The header of what stands at the tail. An older superblock may come with an index that is whole
/// while what it takes for the tail is written over.
Task<Result<BatchInfo>> Journal::read_tail() {
  AlignedBuffer buffer(journal_block);
  if (auto read = co_await disk_.read(offset_of(superblock_.tail_position), buffer.span()); !read)
    co_return read.error();
  auto info = peek_batch(buffer.span(), superblock_.journal);
  if (!info) co_return info;
  if (info->position != superblock_.tail_position || info->number != superblock_.tail_number ||
      info->previous_crc != superblock_.tail_previous_crc)
    co_return Error{Errc::corrupt, "another batch stands at the tail"};
  co_return info;
}

/// What lies between two entries, as one batch; the last ends before `end_seq`.
void Journal::tell_indexed(std::uint64_t end_seq,
                           const std::function<void(const BatchInfo&)>& on_batch) const {
  const auto& entries = index_->entries();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const bool is_last = i + 1 == entries.size();
    const std::uint64_t end = is_last ? end_seq : entries[i + 1].first_seq;
    BatchInfo piece;
    piece.first_seq = entries[i].first_seq;
    piece.records = static_cast<std::uint32_t>(end - piece.first_seq);
    piece.payload_bytes = static_cast<std::uint32_t>(is_last ? index_->payload_after()
                                                             : entries[i + 1].payload_before);
    piece.append_time_ns = entries[i].append_time_ns;
    on_batch(piece);
  }
}

Task<Result<void>> Journal::walk(const std::optional<BatchInfo>& index,
                                 const std::function<void(const BatchInfo&)>& on_batch) {
  Recovery recovery(superblock_, index);
  DiskWindow window(disk_, DiskWindow::usual_bytes,
                    batch_bytes(limits::batch_records_max, limits::batch_payload_bytes_max));
  const std::uint64_t end = superblock_.data_offset + superblock_.data_bytes;
  while (const auto wanted = recovery.next()) {
    const auto bytes = co_await window.at(wanted->offset, wanted->bytes, end);
    if (!bytes) co_return bytes.error();
    auto batch = recovery.feed(*bytes);
    if (!batch)
      co_return Error{batch.error().code, fmt::format("{}: {}", disk_.path(), batch.error().text)};
    if (*batch) {
      index_->add(**batch);
      on_batch(**batch);
    }
  }
  head_ = recovery.head();
  if (superblock_.clean && head_.seq - 1 != superblock_.stored_seq)
    co_return Error{Errc::corrupt,
                    fmt::format("{}: the journal was closed in order after write {}, but ends with "
                                "write {}; nothing was changed; take a copy of the device, then "
                                "fetch what is missing from upstream or format it anew",
                                disk_.path(), superblock_.stored_seq, head_.seq - 1)};
  places_ = recovery.places();
  co_return Result<void>{};
}

/// One at a time: a copy must be whole before the other one is begun.
Task<Result<void>> Journal::write_superblock() {
  while (writing_superblock_) co_await superblock_written_.wait();
  writing_superblock_ = true;
  const std::uint64_t changes = changes_;
  auto written = co_await write_next_superblock();
  if (written) changes_saved_ = changes;
  writing_superblock_ = false;
  superblock_written_.notify();
  co_return written;
}

Task<Result<void>> Journal::write_next_superblock() {
  superblock_.generation += 1;
  // What is stored by now can't be a torn tail any more.
  superblock_.epoch_number = head_.number;
  superblock_.stored_seq = head_.seq - 1;
  forget_volumes();
  superblock_.volumes = places_.volumes();
  superblock_.limit_seq = places_.limit_seq();
  superblock_.gap_first = places_.gap().first;
  superblock_.gap_seq = places_.gap().last;
  superblock_.index = index_->last_block();
  if (!past_limit()) superblock_.past_limit.reset();
  if (superblock_.volumes.size() > superblock_volumes_max)
    co_return Error{Errc::full,
                    fmt::format("{}: writes of {} volumes are in the journal, which has "
                                "room for {}; take fewer volumes out of the "
                                "configuration at a time",
                                disk_.path(), superblock_.volumes.size(), superblock_volumes_max)};
  AlignedBuffer buffer(superblock_bytes);
  encode_superblock(superblock_, buffer.span().first<superblock_bytes>());
  co_return co_await disk_.write_durable(superblock_offset(superblock_.generation), buffer.span());
}

template <class T>
void Journal::note(const Uuid& volume, T VolumePlace::*what, const T& value) {
  if (place(volume).*what == value) return;
  places_[volume].*what = value;
  ++changes_;
}

VolumeSource Journal::source(const Uuid& volume) const { return place(volume).source; }

void Journal::set_source(const Uuid& volume, const VolumeSource& source) {
  note(volume, &VolumePlace::source, source);
}

CopyDevice Journal::copy_device(const Uuid& volume) const { return place(volume).copy; }

void Journal::set_copy_device(const Uuid& volume, const CopyDevice& copy) {
  note(volume, &VolumePlace::copy, copy);
}

bool Journal::dropped(const Uuid& volume) const { return place(volume).dropped; }

void Journal::set_dropped(const Uuid& volume) { note(volume, &VolumePlace::dropped, true); }

bool Journal::leased(const Uuid& volume) const { return place(volume).leased; }

void Journal::set_leased(const Uuid& volume, bool leased) {
  note(volume, &VolumePlace::leased, leased);
}

void Journal::set_volume_bytes(const Uuid& volume, std::uint64_t bytes) {
  note(volume, &VolumePlace::bytes, bytes);
}

void Journal::set_grant(const Uuid& volume, const Grant& grant) {
  if (place(volume).grant == grant) return;
  superblock_.granted_time_ns = clock_.realtime_ns();
  note(volume, &VolumePlace::grant, grant);
}

void Journal::set_granted(const Uuid& petition) {
  if (superblock_.granted == petition) return;
  superblock_.granted = petition;
  ++changes_;
}

void Journal::set_petition(const Uuid& name) {
  if (superblock_.petition == name) return;
  superblock_.petition = name;
  ++changes_;
}

void Journal::set_behind(const RemoteBehind& behind) {
  if (superblock_.behind == behind) return;
  superblock_.behind = behind;
  ++changes_;
}

void Journal::forget_follower() {
  superblock_.follower = {};
  ++changes_;
}

void Journal::set_past_limit() {
  if (past_limit()) return;
  superblock_.past_limit = limit_seq();
  ++changes_;
}

void Journal::set_takeover(const Takeover& takeover) {
  if (superblock_.takeover == takeover) return;
  superblock_.takeover = takeover;
  ++changes_;
}

void Journal::hand_over(std::uint64_t seq) {
  superblock_.takeover.seq = seq;
  superblock_.past_limit.reset();
  ++changes_;
}

Task<Result<void>> Journal::persist() {
  if (changes_saved_ == changes_) co_return Result<void>{};
  auto written = co_await write_superblock();
  if (!written) fail(written.error());
  co_return written;
}

std::vector<Uuid> Journal::leaving_volumes() const {
  std::vector<Uuid> out;
  for (const auto& [uuid, place] : places_.volumes())
    if (!volumes_.contains(uuid)) out.push_back(uuid);
  return out;
}

/// Volumes that are neither configured nor have a write at or behind the tail.
void Journal::forget_volumes() {
  for (const Uuid& volume : leaving_volumes()) places_[volume].grant = {};
  places_.forget_if([this](const Uuid& volume, const VolumePlace& place) {
    return !volumes_.contains(volume) && place.group_seq < superblock_.tail_seq;
  });
}

// ---- taking in

bool Journal::crowded() const {
  return pending_bytes_ > pending_bytes_max && !failure_ && !stopping_;
}

void Journal::append(Incoming incoming) {
  received_seq_ += incoming.records.size();
  incoming.history = received_history_;
  for (const Record& record : incoming.records)
    received_history_ = history_after(received_history_, record);
  if (appended_) appended_(incoming.records);
  enqueue(std::move(incoming));
}

void Journal::stop() {
  stopping_ = true;
  arrived_.notify();
  space_.notify();
  progress_.notify();
}

std::uint64_t Journal::stored_volume_seq(const Uuid& volume) const {
  return place(volume).volume_seq;
}

void Journal::append_jump(const Jump& jump) {
  Incoming in;
  in.history = received_history_;
  in.jump = jump;
  received_seq_ = jump.seq;
  received_history_ = jump.history;
  enqueue(std::move(in));
}

bool Journal::jump_pending() const {
  return std::any_of(pending_.begin(), pending_.end(), [](const Incoming& in) { return in.jump; });
}

void Journal::enqueue(Incoming incoming) {
  incoming.received = clock_.now();
  pending_bytes_ += incoming.held_bytes();
  pending_.push_back(std::move(incoming));
  arrived_.notify();
  progress_.notify();
}

// ---- group commit

Task<> Journal::run() {
  for (;;) {
    while (pending_.empty() && !stopping_) co_await arrived_.wait();
    if (pending_.empty() || failure_) co_return;
    if (pending_.front().jump) {
      if (!co_await commit_jump()) co_return;
    } else {
      auto batch = seal(select_pending());
      if (!co_await commit(std::move(batch))) co_return;
    }
    while (index_->due() && has_space(journal_block)) {
      const bool saved = co_await save_index();
      if (!saved) co_return;
    }
  }
}

/// Nobody waits for it, so it takes only room that nobody else wants now.
Task<bool> Journal::save_index() {
  BatchInfo info;
  info.kind = BatchKind::index;
  info.bytes = journal_block;
  info.first_seq = stored_seq_ + 1;
  info.history = head_.history;
  const IndexBlock block = index_->unsaved();
  const std::uint64_t position = head_.position;
  if (!co_await write_bare(info, &block)) co_return false;
  index_->saved(position);
  const std::uint64_t known = std::max(superblock_.index.value_or(0), superblock_.tail_position);
  if (position - known < unknown_bytes_max) co_return true;
  auto written = co_await write_superblock();
  if (!written) fail(written.error());
  co_return written.has_value();
}

/// How many of the pending frames fit one batch; at least one.
std::size_t Journal::select_pending() const {
  std::size_t frames = 0, records = 0, payload = 0;
  for (const Incoming& in : pending_) {
    records += in.records.size();
    payload += in.payload.size();
    if (in.jump) break;
    if (frames > 0 &&
        (records > limits::batch_records_max || payload > limits::batch_payload_bytes_max))
      break;
    ++frames;
  }
  return frames;
}

/// Moves the first `frames` of the pending ones into a batch. Its place in the circle is given
/// when it is written.
std::shared_ptr<Batch> Journal::seal(std::size_t frames) {
  BatchInfo info;
  info.first_seq = sealed_seq_ + 1;
  info.append_time_ns = clock_.realtime_ns();
  sealed_since_ = pending_.front().received;
  info.history = pending_.front().history;
  for (std::size_t i = 0; i < frames; ++i) {
    info.records += static_cast<std::uint32_t>(pending_[i].records.size());
    info.payload_bytes += static_cast<std::uint32_t>(pending_[i].payload.size());
  }
  info.bytes = batch_bytes(info.records, info.payload_bytes);

  auto batch = std::make_shared<Batch>(Batch{info, AlignedBuffer(info.bytes)});
  const auto bytes = batch->buffer.span();
  const std::size_t head = batch_head_bytes(info.records);
  std::byte* records = bytes.data() + sizeof(BatchHeader);
  std::byte* payload = bytes.data() + head;
  for (; frames > 0; --frames) {
    const Incoming& in = pending_.front();
    std::memcpy(records, in.records.data(), in.records.size_bytes());
    if (!in.payload.empty()) std::memcpy(payload, in.payload.data(), in.payload.size());
    records += in.records.size_bytes();
    payload += in.payload.size();
    pending_bytes_ -= in.held_bytes();
    pending_.pop_front();
  }
  std::memset(records, 0, static_cast<std::size_t>(bytes.data() + head - records));
  std::memset(payload, 0, static_cast<std::size_t>(bytes.data() + bytes.size() - payload));
  return batch;
}

Task<bool> Journal::commit(std::shared_ptr<Batch> batch) {
  if (!co_await skip_to_start_if_needed(batch->info.bytes)) co_return false;
  if (!co_await wait_for_space(batch->info.bytes)) co_return false;
  BatchInfo& info = batch->info;
  info.kind = BatchKind::data;
  info.epoch = superblock_.epoch;
  info.number = head_.number;
  info.position = head_.position;
  info.durable_number = head_.number - 1;
  info.previous_crc = head_.previous_crc;
  const auto head = batch->buffer.span().first(batch_head_bytes(info.records));
  info.header_crc = seal_batch(info, superblock_.journal, head);

  sealed_seq_ = batch->last_seq();
  cache(batch);
  if (told_) told_(info);
  progress_.notify();
  if (!co_await write_batch(*batch)) co_return false;
  index_->add(info);
  advance_head(info);
  note_stored(*batch);
  co_return true;
}

Task<bool> Journal::write_batch(const Batch& batch) {
  const auto written = co_await disk_.write_durable(offset_of(batch.info.position), batch.bytes());
  if (!written) fail(written.error());
  co_return written.has_value();
}

/// A batch never wraps: what is left before the end of the circle is covered by a skip.
Task<bool> Journal::skip_to_start_if_needed(std::uint64_t bytes) {
  const std::uint64_t to_end = superblock_.data_bytes - head_.position % superblock_.data_bytes;
  if (bytes <= to_end) co_return true;
  if (!co_await wait_for_space(to_end)) co_return false;
  BatchInfo info;
  info.kind = BatchKind::skip;
  info.bytes = to_end;
  info.first_seq = sealed_seq_ + 1;
  info.history = head_.history;
  co_return co_await write_bare(info);
}

/// From here on the journal may hold a jump, and whoever opens it has to know of them.
Task<bool> Journal::commit_jump() {
  if (!superblock_.jumped) {
    superblock_.jumped = true;
    ++changes_;
  }
  if (!co_await persist()) co_return false;
  if (!co_await wait_for_space(journal_block)) co_return false;
  const Jump jump = *pending_.front().jump;
  BatchInfo info;
  info.kind = BatchKind::jump;
  info.bytes = journal_block;
  info.first_seq = jump.seq + 1;
  info.history = jump.history;
  if (!co_await write_bare(info)) co_return false;
  pending_bytes_ -= pending_.front().held_bytes();
  pending_.pop_front();
  places_.jump(stored_seq_, jump.seq);
  sealed_seq_ = stored_seq_ = jump.seq;
  head_.seq = jump.seq + 1;
  head_.history = jump.history;
  progress_.notify();
  co_return true;
}

/// One block without records: `info` says what it is, and where the records go on; and what stands
/// in it, if it is an index.
Task<bool> Journal::write_bare(BatchInfo info, const IndexBlock* index) {
  info.epoch = superblock_.epoch;
  info.number = head_.number;
  info.position = head_.position;
  info.durable_number = head_.number - 1;
  info.append_time_ns = clock_.realtime_ns();
  info.previous_crc = head_.previous_crc;
  AlignedBuffer buffer(journal_block);
  std::memset(buffer.span().data(), 0, journal_block);
  if (index != nullptr) encode_index(*index, buffer.span().first<journal_block>());
  info.header_crc = seal_batch(info, superblock_.journal, buffer.span());
  const auto written = co_await disk_.write_durable(offset_of(info.position), buffer.span());
  if (!written) {
    fail(written.error());
    co_return false;
  }
  advance_head(info);
  co_return true;
}

Task<bool> Journal::wait_for_space(std::uint64_t bytes) {
  while (!has_space(bytes) && !stopping_) {
    starved_ = true;
    progress_.notify();
    co_await space_.wait();
  }
  starved_ = false;
  co_return has_space(bytes);
}

bool Journal::has_space(std::uint64_t bytes) const {
  return used_bytes() + bytes <= superblock_.data_bytes;
}

std::uint64_t Journal::used_from(std::uint64_t seq) const {
  const auto* entry = index_->find(seq);
  return entry == nullptr ? 0 : head_.position - std::max(entry->position, free_before_);
}

void Journal::advance_head(const BatchInfo& info) {
  head_.position = info.position + info.bytes;
  head_.number = info.number + 1;
  head_.previous_crc = info.header_crc;
}

void Journal::note_stored(const Batch& batch) {
  stored_seq_ = batch.last_seq();
  latency_.add(clock_.now() - sealed_since_, batch.info.records);
  head_.seq = stored_seq_ + 1;
  head_.history = pending_.empty() ? received_history_ : pending_.front().history;
  const Record* last = nullptr;
  for (const Record& record : batch.records()) {
    // Runs of one volume are the rule: look its entry up once a run. Each mark counts.
    if (last != nullptr && (last->op == CASCADE_OP_MARK || record.op == CASCADE_OP_MARK ||
                            std::memcmp(last->volume, record.volume, CASCADE_UUID_BYTES) != 0))
      follow(*last);
    last = &record;
  }
  if (last != nullptr) follow(*last);
  progress_.notify();
}

void Journal::follow(const Record& record) {
  const bool open = limit_seq() != no_limit;
  places_.follow(record);
  if (open && limit_seq() == no_limit) whole_from_ = group_seq_of(record);
}

void Journal::fail(Error error) {
  failure_ = std::move(error);
  progress_.notify();
}

// ---- reading

void Journal::cache(BatchPtr batch) {
  cached_bytes_ += batch->bytes().size();
  cache_.push_back(std::move(batch));
  // What is not stored yet can be read nowhere else.
  while (cached_bytes_ > cache_bytes_max_ && cache_.front()->last_seq() <= stored_seq_) {
    cached_bytes_ -= cache_.front()->bytes().size();
    cache_.pop_front();
  }
}

BatchPtr Journal::cached(std::uint64_t seq) const {
  if (cache_.empty() || seq < cache_.front()->first_seq()) return nullptr;
  auto after =
      std::upper_bound(cache_.begin(), cache_.end(), seq,
                       [](std::uint64_t s, const BatchPtr& b) { return s < b->first_seq(); });
  const BatchPtr& found = *std::prev(after);
  return seq <= found->last_seq() ? found : nullptr;
}

std::uint64_t Journal::position_before(std::uint64_t seq) const {
  const auto* entry = index_->find(seq);
  return entry != nullptr ? entry->position : superblock_.tail_position;
}

std::uint64_t Journal::offset_of(std::uint64_t position) const {
  return superblock_.data_offset + position % superblock_.data_bytes;
}

std::uint64_t Journal::written_end(std::uint64_t position) const {
  const std::uint64_t to_end = superblock_.data_bytes - position % superblock_.data_bytes;
  return offset_of(position) + std::min(to_end, head_.position - position);
}

Task<Result<History>> Journal::history_at(std::uint64_t seq) {
  if (seq + 1 == superblock_.tail_seq) co_return superblock_.tail_history;
  if (seq == received_seq_) co_return received_history_;
  if (seq == sealed_seq_ && !pending_.empty()) co_return pending_.front().history;
  JournalReader reader(*this);
  const auto batch = co_await reader.read(seq);
  if (!batch) co_return batch.error();
  History history = (*batch)->info.history;
  for (const Record& record : (*batch)->records())
    if (group_seq_of(record) <= seq) history = history_after(history, record);
  co_return history;
}

// ---- trimming

Task<Result<void>> Journal::checkpoint(std::uint64_t applied_seq, std::uint64_t keep_seq,
                                       std::uint64_t applied_time_ns) {
  if (applied_seq >= superblock_.applied_seq) {
    superblock_.applied_seq = applied_seq;
    superblock_.applied_time_ns = applied_time_ns;
  }
  const auto* entry = index_->find(keep_seq);
  Superblock& sb = superblock_;
  if (entry != nullptr && entry->first_seq <= keep_seq && entry->position > sb.tail_position) {
    sb.tail_position = entry->position;
    sb.tail_number = entry->number;
    sb.tail_seq = entry->first_seq;
    sb.tail_previous_crc = entry->previous_crc;
    sb.tail_history = entry->history;
  }
  const std::uint64_t tail = sb.tail_position;
  auto written = co_await write_superblock();
  if (!written) {
    fail(written.error());
    co_return written;
  }
  // Only now may the space be written again: a crash before this would recover from the old tail.
  free_before_ = tail;
  index_->trim(tail);
  space_.notify();
  progress_.notify();
  co_return Result<void>{};
}

/// Nothing stands behind the last index, and it knows everything.
bool Journal::is_indexed() const {
  const auto last = index_->last_block();
  return index_->all_saved() && last && *last + journal_block == head_.position;
}

Task<Result<void>> Journal::close() {
  if (failure_) co_return *failure_;
  // So that the next opening has nothing to read behind it.
  while (!is_indexed() && has_space(journal_block)) {
    const bool saved = co_await save_index();
    if (!saved) co_return *failure_;
  }
  // A full journal may end with writes that have no place in it: received, even acknowledged on
  // receipt, and gone. Whoever opens it next has to know.
  superblock_.clean = pending_.empty() && stored_seq_ == received_seq_;
  co_return co_await write_superblock();
}

Task<Result<void>> Journal::give_up() {
  auto fresh = format_superblock(superblock_.group, disk_.bytes());
  if (!fresh) co_return fresh.error();
  fresh->rejoins = true;
  co_return co_await become(*fresh);
}

Task<Result<void>> Journal::begin_from_copies() {
  const auto held = held_by_copies(superblock_);
  if (!held) co_return held.error();
  auto fresh = format_superblock(superblock_.group, disk_.bytes());
  if (!fresh) co_return fresh.error();
  begin_with(*fresh, *held);
  co_return co_await become(*fresh);
}

/// What stands in the circle is another journal's from then on.
Task<Result<void>> Journal::become(Superblock& fresh) {
  fresh.generation = superblock_.generation + 1;
  // Others have gone by what was granted.
  for (const auto& [volume, place] : places_.volumes())
    if (place.grant != Grant{}) fresh.volumes[volume].grant = place.grant;
  fresh.granted = superblock_.granted;
  fresh.granted_time_ns = superblock_.granted_time_ns;
  AlignedBuffer buffer(superblock_bytes);
  encode_superblock(fresh, buffer.span().first<superblock_bytes>());
  co_return co_await disk_.write_durable(superblock_offset(fresh.generation), buffer.span());
}

}  // namespace cascade
