// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where sessions come in: accepts connections, reads the hello of each within a time, and hands
// both on. What has not said hello yet is bounded in number (strangers.hpp) and in time.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/path/strangers.hpp"
#include "lib/format/frame.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace cascade {

class Door {
 public:
  /// Takes a session over, or says why not: the peer is told then, and the stream must still be
  /// there.
  using HandOver = std::function<Result<void>(std::unique_ptr<Stream>& stream, Hello& hello)>;

  /// `known`: addresses of the configured nodes.
  Door(const Executor& executor, Clock& clock, std::set<std::string> known, HandOver hand_over);

  /// Other addresses of configured nodes.
  void know(std::set<std::string> known) { strangers_.know(std::move(known)); }

  /// Until the listener is closed; then waits for those who are at the door. What keeps it from
  /// accepting is tried again, and shown by trouble() meanwhile.
  Task<> run(Listener& listener);
  std::optional<Error> trouble() const;

 private:
  Task<> introduce(std::unique_ptr<Stream> stream);
  Task<Result<Hello>> read_hello(Stream& stream);

  Executor executor_;
  Clock& clock_;
  Strangers strangers_;
  HandOver hand_over_;
  std::optional<Error> trouble_;  // of the last accept() that failed
  TimePoint troubled_until_{};    // if it does not fail again before
  Crew crew_;
};

}  // namespace cascade
