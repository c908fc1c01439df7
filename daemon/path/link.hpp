// SPDX-License-Identifier: GPL-2.0-or-later
//
// The sending end: keeps a session with one downstream node, for ever. Connects, says hello, sends
// what its Feed has, hands acknowledgements back, and begins anew with back-off after any failure.
#pragma once

#include "daemon/io/worker.hpp"
#include "daemon/path/feed.hpp"
#include "daemon/path/frame_reader.hpp"
#include "daemon/path/session.hpp"
#include "lib/format/pack.hpp"

#include <memory>
#include <string>

namespace cascade {

class Link {
 public:
  Link(const Executor& executor, Clock& clock, Net& net, const SessionTimes& times,
       std::string node, const Uuid& group, std::string subject, const NodeConfig& peer,
       Feed& feed);

  /// Compresses what is sent, where the peer takes that; before run(). `worker` outlives it.
  void compress(Codec codec, Worker& worker);
  /// Of each connection; before run(). Empty: the system's own.
  void use_congestion_control(std::string name) { congestion_control_ = std::move(name); }
  /// Until stop().
  Task<> run();
  void stop();

  const LinkStatus& status() const { return status_; }

 private:
  /// One session's own state.
  struct Session {
    Session(const Executor& executor, Clock& clock, std::unique_ptr<Stream> s, Duration silence)
        : stream(std::move(s)),
          watch(clock, *stream, silence),
          reader(*stream, &watch),
          beat_timer(clock.timer()),
          crew(executor),
          began(clock.now()) {}
    std::unique_ptr<Stream> stream;
    SilenceWatch watch;
    FrameReader reader;
    std::unique_ptr<Timer> beat_timer;
    Crew crew;
    std::vector<Ack> acks;
    std::vector<asio::const_buffer> buffers;  // of the frame that is being sent
    bool takes_packed = false;
    Bytes body;
    std::uint64_t tally_told = 0;
    bool beat_due = false;
    TimePoint began;
    bool sent_data = false;
    bool ended = false;
    bool at_once = false;  // reconnect without back-off
    Error why{Errc::closed, {}};
  };

  Task<Error> connect_and_serve();
  Task<Result<void>> shake_hands(Session& s);
  Task<> send_frames(Session& s);
  Task<Result<bool>> send_next(Session& s);
  Task<Result<void>> send_data(Session& s, const Outgoing& out);
  Task<std::span<const std::byte>> pack(Session& s);
  Task<Result<void>> send_heartbeat(Session& s);
  Task<Result<void>> send_asks(Session& s);
  Task<> read_frames(Session& s);
  Task<Result<void>> read_frame(Session& s);
  Task<> beat(Session& s);
  void end(Session& s, Error why);
  void look_at_loss(const Session& s);
  void report(const Error& why);

  Executor executor_;
  Clock& clock_;
  Net& net_;
  SessionTimes times_;
  std::string node_;
  Uuid group_;
  std::string subject_;
  const NodeConfig& peer_;
  Feed& feed_;
  std::string congestion_control_;
  std::unique_ptr<Packer> packer_;  // null: nothing is compressed
  Worker* worker_ = nullptr;        // for that
  LinkStatus status_;
  std::unique_ptr<Timer> backoff_timer_;
  Session* session_ = nullptr;
  bool at_once_ = false;
  bool stopping_ = false;
};

}  // namespace cascade
