// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/transit.hpp"

#include <algorithm>

namespace cascade {
namespace {

// More than a session has under way: it sends what is there in one frame.
constexpr std::size_t frames_max = 128;

bool is_waited_for(const Record& record) {
  return changes_copy(record) && (record.flags & CASCADE_FLAG_RESYNC) == 0;
}

/// Between two moments of CLOCK_REALTIME, which may be set in between.
std::chrono::nanoseconds between(std::uint64_t from_ns, std::uint64_t to_ns) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(to_ns - from_ns));
}

}  // namespace

Transit::Transit(Clock& clock, Latencies& latencies)
    : clock_(clock), latencies_(latencies), frames_(frames_max) {}

void Transit::taken(std::span<const Record> records) {
  const std::uint64_t now_ns = clock_.realtime_ns();
  Frame frame{volume_seq_of(records.back()), 0, 0, clock_.now()};
  for (const Record& record : records) {
    if (!is_waited_for(record)) continue;
    if (volume_seq_of(record) > taken_seq_)
      latencies_.ring.add(between(primary_time_ns_of(record), now_ns));
    if (frame.writes++ == 0) frame.issued_ns = primary_time_ns_of(record);
  }
  taken_seq_ = std::max(taken_seq_, frame.last_seq);
  if (frame.writes > 0) frames_.push_back(frame);
}

void Transit::arrived(std::uint64_t volume_seq) {
  if (frames_.empty() || frames_.front().last_seq > volume_seq) return;
  const TimePoint now = clock_.now();
  const std::uint64_t now_ns = clock_.realtime_ns();
  while (!frames_.empty() && frames_.front().last_seq <= volume_seq) {
    const Frame& frame = frames_.front();
    latencies_.hub.add(now - frame.taken, frame.writes);
    latencies_.write.add(between(frame.issued_ns, now_ns), frame.writes);
    frames_.pop_front();
  }
}

}  // namespace cascade
