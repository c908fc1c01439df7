// SPDX-License-Identifier: GPL-2.0-or-later
//
// What both ends of a session share: its settings, what status shows of it, and the watch over a
// peer that has gone silent.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/io/net.hpp"
#include "daemon/report/log.hpp"
#include "lib/base/codec.hpp"
#include "lib/base/latency.hpp"
#include "lib/config/config.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace cascade {

struct SessionTimes {
  Duration heartbeat;
  Duration silence_max;
  Duration reconnect_min;
  Duration reconnect_max;
};

inline SessionTimes session_times(const DaemonConfig& config) {
  return {config.heartbeat, config.session_timeout, config.reconnect_min, config.reconnect_max};
}

/// For one try. Shorter than TCP's own patience, so that a healed link is found soon.
inline constexpr std::chrono::milliseconds connect_time_max{2000};

/// Of one peer and direction, over all its sessions.
struct LinkStatus {
  std::string peer;
  bool downstream = false;  // we send
  bool connected = false;
  bool connecting = false;
  bool renewing = false;   // a session ended to begin anew at once, with other streams: no news
  std::string reason;      // why not connected, or why not before this session
  std::string loss;        // what the network does to what we send, as long as it does; one line
  std::string congestion;  // why not sent with the congestion control that was asked for; one line
  report::Budget lines;
  std::uint64_t sent_bytes = 0;
  std::uint64_t unpacked_bytes = 0;  // of data: what it would have been without compression
  Codec codec = Codec::none;         // for that, as configured
  std::uint64_t received_bytes = 0;
  std::uint64_t sessions = 0;
  LatencyHistogram send_latency;  // until the system had taken a frame, by its records
};

/// Says why a session ends, as well as the peer still listens. Nobody else may write to the stream.
/// `error` must live until it returns.
Task<> send_refusal(Stream& stream, const Error& error);

/// The same of one that nobody serves, and closes it.
Task<> turn_away(std::unique_ptr<Stream> stream, Error error);

/// Closes a stream on which nothing has been heard for too long.
class SilenceWatch {
 public:
  SilenceWatch(Clock& clock, Stream& stream, Duration silence_max)
      : clock_(clock),
        stream_(stream),
        silence_max_(silence_max),
        timer_(clock.timer()),
        heard_(clock.now()) {}

  void heard() { heard_ = clock_.now(); }
  Duration quiet() const { return clock_.now() - heard_; }
  bool expired() const { return expired_; }

  Task<> run() {
    while (!stopped_) {
      if (quiet() >= silence_max_) {
        expired_ = true;
        stream_.close();
        co_return;
      }
      co_await timer_->sleep(silence_max_ - quiet());
    }
  }

  void stop() {
    stopped_ = true;
    timer_->cancel();
  }

 private:
  Clock& clock_;
  Stream& stream_;
  Duration silence_max_;
  std::unique_ptr<Timer> timer_;
  TimePoint heard_;
  bool expired_ = false;
  bool stopped_ = false;
};

}  // namespace cascade
