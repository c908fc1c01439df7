// SPDX-License-Identifier: GPL-2.0-or-later
//
// This node: a thread for each consistency group that it takes part in, one listening address, the
// control socket. Builds everything from the configuration and takes it down in reverse; and takes
// another configuration while it runs.
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
  using ConfigPtr = std::shared_ptr<const Config>;

  /// `io` is the main thread's.
  Site(asio::io_context& io, ConfigPtr config, std::string node);
  ~Site();

  /// Listens and starts the groups. What can't be had yet is tried again.
  void start();
  /// Ends every group in order; returns when their threads are gone.
  Task<> stop();

  /// Takes `config` from now on. Groups that are new begin, those that are gone end in order, those
  /// that are others begin anew; the rest notices nothing. Returns a line for each change, as
  /// changes() does beforehand.
  std::vector<std::string> reload(ConfigPtr config);
  std::vector<std::string> changes(const Config& config) const;

  Task<api::StatusReport> status();
  /// Does `what` with the group's part on this node, on its thread. Errc::not_found; why it does
  /// not run; what `what` says.
  Task<Result<void>> tell(std::string group, std::function<Result<void>(GroupNode&)> what);

 private:
  struct Shard;
  struct Slot;

  using SlotPtr = std::shared_ptr<Slot>;
  enum class Verdict { goes_on, begins_anew, ends };

  Verdict verdict_on(const Slot& slot, const Config& config) const;

  bool listens() const;
  bool others_are_elsewhere() const;
  Task<> listen();
  void listen_as_configured();
  bool listens_otherwise() const;
  void add_groups();
  void stop_running(Slot& slot);
  void begin(Slot& slot);
  Task<> keep(SlotPtr slot);
  Task<> watch_conditions();
  Result<void> hand_over(std::unique_ptr<Stream>& stream, Hello& hello);
  SlotPtr find(const Uuid& group) const;
  Task<api::Group> status_of(SlotPtr slot);
  std::optional<api::Listener> listener_status() const;
  void look_at_conditions(api::StatusReport& report);

  asio::io_context& io_;
  ConfigPtr config_;
  std::string node_;
  os::SystemClock clock_;
  os::TcpNet net_;
  std::unique_ptr<Timer> listen_timer_;
  std::unique_ptr<Timer> condition_timer_;
  bool listening_ = false;  // listen() runs
  std::unique_ptr<Listener> listener_;
  Address listens_at_;  // with which listen() began last, and for how long a peer may be silent
  std::chrono::milliseconds listens_with_{};
  std::optional<Error> not_listening_;
  ConditionLog conditions_{"dmcascaded"};
  std::vector<SlotPtr> slots_;
  Door door_;
  Crew crew_;
  bool stopping_ = false;
};

}  // namespace cascade
