// SPDX-License-Identifier: GPL-2.0-or-later
//
// This node: a thread for each consistency group that it takes part in, one listening address, the
// control socket. Builds everything from the configuration and takes it down in reverse.
#pragma once

#include "daemon/conditions.hpp"
#include "daemon/os/clock.hpp"
#include "daemon/os/net.hpp"
#include "daemon/path/door.hpp"
#include "lib/api/api.hpp"
#include "lib/config/config.hpp"
#include "lib/format/frame.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cascade {

class GroupNode;

class Site {
 public:
  /// `config` must outlive it; `io` is the main thread's.
  Site(asio::io_context& io, const Config& config, std::string node);
  ~Site();

  /// Listens and starts the groups. What can't be had yet is tried again.
  void start();
  /// Ends every group in order; returns when their threads are gone.
  Task<> stop();

  Task<api::StatusReport> status();
  /// Does `what` with the group's part on this node, on its thread. Errc::not_found; why it does
  /// not run; what `what` says.
  Task<Result<void>> tell(std::string group, std::function<Result<void>(GroupNode&)> what);

 private:
  struct Shard;
  struct Slot;

  bool listens() const;
  bool others_are_elsewhere() const;
  Task<> listen();
  void begin(Slot& slot);
  Task<> keep(Slot& slot);
  Task<> watch_conditions();
  Result<void> hand_over(std::unique_ptr<Stream>& stream, Hello& hello);
  Slot* find(const Uuid& group);
  Task<api::Group> status_of(Slot& slot);
  std::optional<api::Listener> listener_status() const;
  void look_at_conditions(api::StatusReport& report);

  asio::io_context& io_;
  const Config& config_;
  std::string node_;
  os::SystemClock clock_;
  os::TcpNet net_;
  std::unique_ptr<Timer> listen_timer_;
  std::unique_ptr<Timer> condition_timer_;
  std::unique_ptr<Listener> listener_;
  std::optional<Error> not_listening_;
  ConditionLog conditions_{"dmcascaded"};
  std::vector<std::unique_ptr<Slot>> slots_;
  Door door_;
  Crew crew_;
  bool stopping_ = false;
};

}  // namespace cascade
