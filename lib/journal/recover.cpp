// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/journal/recover.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {
namespace {

// The most that a writer may have had under way behind a batch: evidence that the batch was once
// whole stands within this distance. Two of the largest batches.
constexpr std::uint64_t probe_bytes_max =
    2 * batch_bytes(limits::batch_records_max, limits::batch_payload_bytes_max);
constexpr std::uint64_t probe_read_bytes = 1024 * 1024;

}  // namespace

Recovery::Recovery(const Superblock& superblock, const std::optional<BatchInfo>& index)
    : superblock_(superblock),
      places_(superblock.volumes, superblock.limit_seq,
              Gap{superblock.gap_first, superblock.gap_seq}, superblock.stored_seq) {
  head_.position = superblock.tail_position;
  head_.number = superblock.tail_number;
  head_.seq = superblock.tail_seq;
  head_.previous_crc = superblock.tail_previous_crc;
  head_.history = superblock.tail_history;
  if (!index) return;
  head_.position = index->position + index->bytes;
  head_.number = index->number + 1;
  head_.seq = index->first_seq;
  head_.previous_crc = index->header_crc;
  head_.history = index->history;
  last_epoch_ = index->epoch;
  places_.may_have_written_through(index->first_seq - 1);
}

std::uint64_t Recovery::offset_of(std::uint64_t position) const {
  return superblock_.data_offset + position % superblock_.data_bytes;
}

std::uint64_t Recovery::to_end(std::uint64_t position) const {
  return superblock_.data_bytes - position % superblock_.data_bytes;
}

std::optional<Recovery::Read> Recovery::next() const {
  switch (phase_) {
    case Phase::header:
      return Read{offset_of(head_.position), journal_block};
    case Phase::batch:
    case Phase::probed_batch:
      return Read{offset_of(expected_.position), expected_.bytes};
    case Phase::probe:
      return Read{offset_of(probe_),
                  std::min({probe_read_bytes, to_end(probe_), probe_end_ - probe_})};
    case Phase::done:
      return std::nullopt;
  }
  return std::nullopt;
}

Result<std::optional<BatchInfo>> Recovery::feed(std::span<const std::byte> bytes) {
  switch (phase_) {
    case Phase::header:
      return feed_header(bytes);
    case Phase::batch:
      return feed_batch(bytes);
    case Phase::probe:
      return feed_probe(bytes);
    case Phase::probed_batch:
      return feed_probed_batch(bytes);
    case Phase::done:
      break;
  }
  return std::optional<BatchInfo>{};
}

/// Whether a batch that is whole by itself is the one that has to stand at the head.
Result<void> Recovery::follows(const BatchInfo& info) const {
  const auto wrong = [](const char* what, std::uint64_t got, std::uint64_t wanted) {
    return Error{Errc::corrupt, fmt::format("batch: {} is {}, wanted {}", what, got, wanted)};
  };
  if (info.position != head_.position) return wrong("position", info.position, head_.position);
  if (info.number != head_.number) return wrong("number", info.number, head_.number);
  const bool jump = info.kind == BatchKind::jump;
  if (jump ? info.first_seq <= head_.seq : info.first_seq != head_.seq)
    return wrong("first write", info.first_seq, head_.seq);
  if (info.previous_crc != head_.previous_crc)
    return wrong("predecessor's checksum", info.previous_crc, head_.previous_crc);
  if (!jump && info.history != head_.history) return wrong("history", info.history, head_.history);
  if (info.number >= superblock_.epoch_number && info.epoch != superblock_.epoch)
    return wrong("epoch", info.epoch, superblock_.epoch);
  if (info.epoch < last_epoch_ || info.epoch > superblock_.epoch)
    return wrong("epoch", info.epoch, last_epoch_);
  if (info.number >= superblock_.epoch_number && superblock_.clean)
    return wrong("number", info.number, superblock_.epoch_number - 1);
  const bool fits = info.kind == BatchKind::skip ? info.bytes == to_end(info.position)
                                                 : info.bytes <= to_end(info.position);
  if (!fits) return wrong("size", info.bytes, to_end(info.position));
  if (info.position + info.bytes - superblock_.tail_position > superblock_.data_bytes)
    return wrong("end", info.position + info.bytes,
                 superblock_.tail_position + superblock_.data_bytes);
  return {};
}

Result<std::optional<BatchInfo>> Recovery::feed_header(std::span<const std::byte> block) {
  auto info = peek_batch(block, superblock_.journal);
  if (!info) return stop_at(info.error().text);
  if (auto ok = follows(*info); !ok) return stop_at(ok.error().text);
  head_.torn = true;  // until the whole of it proves otherwise
  if (info->kind != BatchKind::data) {
    if (auto whole = check_batch(block, superblock_.journal); !whole)
      return stop_at(whole.error().text);
    if (info->kind == BatchKind::jump) {
      places_.jump(head_.seq - 1, info->first_seq - 1);
      head_.history = info->history;
    }
    return accept(*info, {});
  }
  expected_ = *info;
  phase_ = Phase::batch;
  return std::optional<BatchInfo>{};
}

Result<std::optional<BatchInfo>> Recovery::feed_batch(std::span<const std::byte> bytes) {
  auto info = check_batch(bytes, superblock_.journal);
  if (!info) return stop_at(info.error().text);
  if (auto ok = follows(*info); !ok) return stop_at(ok.error().text);
  return accept(*info, batch_records(bytes, *info));
}

std::optional<BatchInfo> Recovery::accept(const BatchInfo& info, std::span<const Record> records) {
  for (const Record& record : records) places_.follow(record);
  for (const Record& record : records) head_.history = history_after(head_.history, record);
  head_.position = info.position + info.bytes;
  head_.number = info.number + 1;
  head_.seq = info.first_seq + info.records;
  head_.previous_crc = info.header_crc;
  head_.torn = false;
  last_epoch_ = info.epoch;
  phase_ = Phase::header;
  if (info.kind != BatchKind::data) return std::nullopt;
  return info;
}

Error Recovery::damaged(const std::string& why) const {
  return Error{Errc::corrupt,
               fmt::format("the journal is damaged at batch {} (byte {} of the device), which was "
                           "stable once: {}; nothing was changed; take a copy of the device, then "
                           "fetch what is missing from upstream or format it anew",
                           head_.number, offset_of(head_.position), why)};
}

bool Recovery::later_than_superblock(const BatchInfo& info) const {
  return info.epoch > superblock_.epoch || info.position > expected_.position || superblock_.clean;
}

Error Recovery::superblock_lost(const BatchInfo& info) const {
  return Error{
      Errc::corrupt,
      fmt::format("the journal holds batch {} of opening {} (byte {} of the device), which "
                  "its superblock does not know: the newest superblock is lost or was put "
                  "back; nothing was changed; take a copy of the device, then fetch what is "
                  "missing from upstream or format it anew",
                  info.number, info.epoch, offset_of(info.position))};
}

/// The batch at the head is not whole. What was stable once is damaged; anything else may be torn.
Result<std::optional<BatchInfo>> Recovery::stop_at(const std::string& why) {
  if (head_.number < superblock_.epoch_number) return damaged(why);
  why_ = why;
  const std::uint64_t used = head_.position - superblock_.tail_position;
  const std::uint64_t room = superblock_.data_bytes - used;
  probe_ = head_.position;
  probe_end_ = head_.position + std::min(room, probe_bytes_max);
  phase_ = probe_ < probe_end_ ? Phase::probe : Phase::done;
  return std::optional<BatchInfo>{};
}

/// Whether a batch found at `position`, which is free by the superblock, says that the head is not
/// where the writing ended: written later than this superblock knows of (a later opening, or a
/// later lap), or by the run that crashed, after the batch at the head had been stable. A
/// superblock that was closed in order knows of every batch of its epoch.
bool Recovery::is_evidence(const BatchInfo& info, std::uint64_t position) const {
  if (offset_of(info.position) != offset_of(position) || info.position < position ||
      info.epoch < superblock_.epoch || info.bytes > to_end(position))
    return false;
  if (info.position > position || info.epoch > superblock_.epoch) return true;
  if (info.number >= superblock_.epoch_number && superblock_.clean) return true;
  return info.number > head_.number && info.durable_number >= head_.number;
}

Result<std::optional<BatchInfo>> Recovery::feed_probe(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto block = bytes.first(journal_block);
    const std::uint64_t position = probe_;
    probe_ += journal_block;
    bytes = bytes.subspan(journal_block);
    if (!begins_like_batch(block)) continue;
    const auto info = peek_batch(block, superblock_.journal);
    if (!info || !is_evidence(*info, position)) continue;
    expected_ = *info;
    expected_.position = position;
    if (info->kind == BatchKind::skip) expected_.bytes = journal_block;
    phase_ = Phase::probed_batch;
    return std::optional<BatchInfo>{};
  }
  phase_ = probe_ < probe_end_ ? Phase::probe : Phase::done;
  return std::optional<BatchInfo>{};
}

Result<std::optional<BatchInfo>> Recovery::feed_probed_batch(std::span<const std::byte> bytes) {
  if (const auto whole = check_batch(bytes, superblock_.journal))
    return later_than_superblock(*whole) ? superblock_lost(*whole) : damaged(why_);
  phase_ = probe_ < probe_end_ ? Phase::probe : Phase::done;
  return std::optional<BatchInfo>{};
}

}  // namespace cascade
