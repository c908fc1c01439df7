// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/journal_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace cascade {
namespace {

// Heads lie between payloads that nobody wants.
constexpr std::size_t head_window_bytes = 64 * 1024;

}  // namespace

JournalReader::JournalReader(Journal& journal, Part part)
    : journal_(journal),
      part_(part),
      window_(journal.disk(), part == Part::head ? head_window_bytes : DiskWindow::usual_bytes) {}

Task<Result<BatchPtr>> JournalReader::read(std::uint64_t seq) {
  if (auto batch = journal_.cached(seq)) {
    forget();
    co_return batch;
  }
  if (is_last(seq)) co_return last_;
  if (!last_ || seq != next_seq_) forget();
  auto batch = co_await read_from_disk(seq);
  if (!batch) forget();
  co_return batch;
}

/// Positions go round on the device: what was read ahead holds for what follows on, and no more.
void JournalReader::forget() {
  window_.drop();
  last_.reset();
}

bool JournalReader::at_hand(std::uint64_t seq) const {
  if (is_last(seq) || journal_.cached(seq)) return true;
  if (!last_ || seq != next_seq_) return false;
  const std::uint64_t offset = journal_.offset_of(next_position_);
  const auto block = window_.at_hand(offset, journal_block);
  if (!block) return false;
  const auto info = peek_batch(*block, journal_.id());
  return info && info->kind == BatchKind::data && window_.at_hand(offset, wanted_bytes(*info));
}

bool JournalReader::is_last(std::uint64_t seq) const {
  return last_ && seq >= last_->first_seq() && seq <= last_->last_seq();
}

std::size_t JournalReader::wanted_bytes(const BatchInfo& info) const {
  return part_ == Part::whole ? info.bytes : batch_head_bytes(info.records);
}

Task<Result<BatchPtr>> JournalReader::read_from_disk(std::uint64_t seq) {
  std::uint64_t position = last_ ? next_position_ : journal_.position_before(seq);
  for (;;) {
    const auto block = co_await window_.at(journal_.offset_of(position), journal_block,
                                           journal_.written_end(position));
    if (!block) co_return block.error();
    const auto info = peek_batch(*block, journal_.id());
    if (!info || info->position != position) co_return damaged(position, seq);
    position += info->bytes;
    if (info->kind != BatchKind::data || seq >= info->first_seq + info->records) continue;
    auto batch = co_await take(*info);
    if (!batch) co_return batch;
    last_ = *batch;
    next_seq_ = last_->last_seq() + 1;
    next_position_ = position;
    co_return batch;
  }
}

/// A copy of its own: the window goes on.
Task<Result<BatchPtr>> JournalReader::take(const BatchInfo& info) {
  const std::size_t bytes = wanted_bytes(info);
  const std::uint64_t offset = journal_.offset_of(info.position);
  auto batch = std::make_shared<Batch>(Batch{info, AlignedBuffer(bytes)});
  if (bytes <= window_.size()) {
    const auto here = co_await window_.at(offset, bytes, journal_.written_end(info.position));
    if (!here) co_return here.error();
    std::memcpy(batch->buffer.span().data(), here->data(), bytes);
  } else if (auto read = co_await journal_.disk().read(offset, batch->buffer.span()); !read) {
    co_return read.error();
  }
  const auto check = part_ == Part::whole ? check_batch : check_batch_head;
  if (auto checked = check(batch->bytes(), journal_.id()); !checked)
    co_return Error{checked.error().code,
                    fmt::format("{}: {}", journal_.path(), checked.error().text)};
  co_return BatchPtr(std::move(batch));
}

Error JournalReader::damaged(std::uint64_t position, std::uint64_t seq) const {
  return {Errc::corrupt,
          fmt::format("{}: the batch at position {} is damaged (looking for write {})",
                      journal_.path(), position, seq)};
}

}  // namespace cascade
