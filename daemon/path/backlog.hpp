// SPDX-License-Identifier: GPL-2.0-or-later
//
// How far a downstream node is behind: writes, bytes, and the age of the oldest of them. Kept by
// batch; when there are very many, neighbours are merged, so that memory is bounded and the figures
// become coarser, never wrong by more than a merged piece.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/path/batch.hpp"
#include "lib/base/latency.hpp"

#include <cstdint>
#include <deque>

namespace cascade {

class Backlog {
 public:
  struct Figures {
    std::uint64_t writes = 0;
    std::uint64_t bytes = 0;
    double age_seconds = 0;
  };

  /// `now` is of a clock that nobody sets; `age`: how old the batch is already.
  void add(const BatchInfo& batch, Duration now, Duration age = {});
  /// Everything through `seq` has arrived by `now`.
  void arrived(std::uint64_t seq, Duration now);
  /// How old writes were when they arrived, by the oldest of a batch.
  const LatencyHistogram& latency() const { return latency_; }
  Figures figures(Duration now) const;

 private:
  struct Piece {
    std::uint64_t first_seq, last_seq;
    std::uint64_t bytes;
    Duration time;  // when its first write entered this node's journal
  };
  void merge();

  std::deque<Piece> pieces_;
  std::uint64_t bytes_ = 0;
  std::uint64_t arrived_ = 0;
  LatencyHistogram latency_;
};

}  // namespace cascade
