// SPDX-License-Identifier: GPL-2.0-or-later
//
// The group's witness: a third node, which grants that somebody parts from the history that the
// others know: a volume that goes on alone, or a node that is promoted. Both begin another
// generation, and of each generation the witness lets one follow only, for ever:
//
//   volume's primary   petition (volume, generation it is of)    ─►  granted, unless a promotion
//                                                                     was, from that generation
//   hub                petition (all volumes, each with the      ─►  granted, unless one of them
//                      generation that its copy is of)                went on alone from that
//
// Nothing is taken back by time, so clocks do not matter; what is on its disk is what it has
// granted. Whoever asked and does not part after all, as the hub is back just then, or since the
// answer never came, withdraws his petition, by its name, before he asks again. Names of one daemon
// are ordered, so that what comes late, asked or withdrawn, is known for that. An administrator's
// word goes over the witness's; it is told of that.
//
// A petition is a hello and its welcome on a connection of its own (lib/format/frame.hpp).
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/io/net.hpp"
#include "daemon/path/journal.hpp"
#include "daemon/path/session.hpp"
#include "lib/config/config.hpp"
#include "lib/format/frame.hpp"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace cascade {

/// What a node asks of the witness.
struct Petition {
  Uuid name{};                     // of this one: Petitioner::next_name()
  bool promotion = false;          // else volumes want to go on alone
  bool forced = false;             // an administrator has decided it already
  bool withdrawn = false;          // what was granted to it is not wanted
  std::map<Uuid, Uuid> volumes{};  // each with the generation that it would part from
};

Hello make_hello(const Uuid& group, const std::string& node, const Petition& petition);
/// Errc::invalid.
Result<Petition> petition_of(const Hello& hello);

/// Decides by what `journal` says was granted, and notes there what is granted now: to be told only
/// once that is on its disk (Journal::persist). An answer for each stream of the hello.
/// Errc::invalid.
Result<Welcome> decide(const GroupConfig& group, Journal& journal, const std::string& node,
                       const Hello& hello);

/// Asks the witness of one group.
class Petitioner {
 public:
  Petitioner(const Executor& executor, Clock& clock, Net& net, const SessionTimes& times,
             std::string node, const Uuid& group, const NodeConfig& witness)
      : executor_(executor),
        clock_(clock),
        net_(net),
        times_(times),
        node_(std::move(node)),
        group_(group),
        witness_(witness) {}

  /// Half of it is this object's, the other half counts.
  Uuid next_name();
  /// What it says: of the group (a promotion, what is withdrawn), then of each volume in their
  /// order. Else why there is no answer; then it may have granted it all the same.
  Task<Result<std::vector<Answer>>> ask(const Petition& petition);
  /// Ends what is under way; nothing is asked from then on.
  void stop();

 private:
  Task<Result<std::vector<Answer>>> exchange(Stream& stream, const Bytes& frame,
                                             SilenceWatch& watch);

  Executor executor_;
  Clock& clock_;
  Net& net_;
  SessionTimes times_;
  std::string node_;
  Uuid group_;
  const NodeConfig& witness_;
  std::set<Stream*> streams_;  // under way
  Uuid last_name_ = make_uuid();
  bool stopping_ = false;
};

}  // namespace cascade
