// SPDX-License-Identifier: GPL-2.0-or-later
//
// How long a volume's writes take on their way: from the kernel to the daemon, from there to the
// hub's acknowledgement, and both. By frame, of which the hub acknowledges many writes at once; of
// what applications wrote, and no more: a resync has no one who waits for it.
#pragma once

#include "daemon/io/clock.hpp"
#include "lib/base/latency.hpp"
#include "lib/format/record.hpp"

#include <boost/circular_buffer.hpp>

#include <cstdint>
#include <span>

namespace cascade {

class Transit {
 public:
  /// Of all volumes of a group.
  struct Latencies {
    LatencyHistogram ring;   // until the daemon took it
    LatencyHistogram hub;    // from there until the hub had acknowledged it
    LatencyHistogram write;  // until the hub had acknowledged it, the oldest write of a frame
  };

  Transit(Clock& clock, Latencies& latencies);

  /// Records that are on their way now, in the order of volume_seq. Those of a session that ended
  /// come once more.
  void taken(std::span<const Record> records);
  /// Everything through `volume_seq` has what its writers wait for.
  void arrived(std::uint64_t volume_seq);
  /// The session has ended: what was under way begins anew.
  void forget() { frames_.clear(); }

 private:
  struct Frame {
    std::uint64_t last_seq;
    std::uint64_t writes;
    std::uint64_t issued_ns;  // CLOCK_REALTIME, of its first write
    TimePoint taken;
  };

  Clock& clock_;
  Latencies& latencies_;
  boost::circular_buffer<Frame> frames_;  // the oldest is given up for one that finds no room
  std::uint64_t taken_seq_ = 0;
};

}  // namespace cascade
