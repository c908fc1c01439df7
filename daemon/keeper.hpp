// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keeps one group going on this node: starts it, and when it has failed, by a device that is not
// there or an error of its journal, lets go of everything and starts it anew after a pause. Says
// how it is meanwhile, and refuses sessions. One thread.
#pragma once

#include "daemon/conditions.hpp"
#include "daemon/group.hpp"
#include "daemon/path/backoff.hpp"

#include <memory>
#include <optional>
#include <string>

namespace cascade {

class GroupKeeper {
 public:
  /// `config` and `group` must outlive it. It may be destroyed at any moment, as a crash would end
  /// it, if its loop was abandoned before (daemon/io/loop.hpp).
  GroupKeeper(const GroupNode::Seams& seams, const Config& config, const GroupConfig& group,
              std::string node);

  /// Until stop().
  Task<> run();
  /// An orderly end; see GroupNode::stop().
  void stop();

  /// A session of an upstream node, after its hello was read.
  void accept(std::unique_ptr<Stream> stream, Hello hello);

  /// With its conditions, as of now.
  api::Group status();
  /// Its part on this node while it runs, else why it does not.
  Result<GroupNode*> node();

 private:
  Task<> watch_conditions();
  void note_failure();
  Duration next_pause(bool was_ready, Duration took);

  GroupNode::Seams seams_;
  const Config& config_;
  const GroupConfig& group_;
  std::string name_;
  Crew crew_;
  std::unique_ptr<Timer> retry_timer_;
  std::unique_ptr<Timer> condition_timer_;
  ConditionLog conditions_;
  std::unique_ptr<GroupNode> node_;  // null between two tries
  std::optional<Error> failure_;     // of the last try
  api::Group last_;                  // as it was then
  Backoff backoff_ = Backoff::for_devices();
  bool stopping_ = false;
};

}  // namespace cascade
