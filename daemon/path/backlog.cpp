// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/backlog.hpp"

#include <algorithm>

namespace cascade {
namespace {

// 65536 pieces of 32 bytes.
constexpr std::size_t pieces_max = 65536;

}  // namespace

void Backlog::add(const BatchInfo& batch, Duration now, Duration age) {
  if (batch.records == 0) return;
  pieces_.push_back(
      {batch.first_seq, batch.first_seq + batch.records - 1, batch.payload_bytes, now - age});
  bytes_ += batch.payload_bytes;
  if (pieces_.size() > pieces_max) merge();
}

void Backlog::merge() {
  std::deque<Piece> half;
  for (std::size_t i = 0; i + 1 < pieces_.size(); i += 2) {
    Piece merged = pieces_[i];
    merged.last_seq = pieces_[i + 1].last_seq;
    merged.bytes += pieces_[i + 1].bytes;
    half.push_back(merged);
  }
  if (pieces_.size() % 2 == 1) half.push_back(pieces_.back());
  pieces_ = std::move(half);
}

void Backlog::arrived(std::uint64_t seq, Duration now) {
  arrived_ = std::max(arrived_, seq);
  while (!pieces_.empty() && pieces_.front().last_seq <= seq) {
    const Piece& piece = pieces_.front();
    latency_.add(now - piece.time, piece.last_seq - piece.first_seq + 1);
    bytes_ -= piece.bytes;
    pieces_.pop_front();
  }
}

Backlog::Figures Backlog::figures(Duration now) const {
  if (pieces_.empty()) return {};
  const Piece& oldest = pieces_.front();
  Figures f;
  f.writes = pieces_.back().last_seq - std::max(arrived_, oldest.first_seq - 1);
  f.bytes = bytes_;
  f.age_seconds = std::chrono::duration<double>(now - oldest.time).count();
  return f;
}

}  // namespace cascade
