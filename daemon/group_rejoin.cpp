// SPDX-License-Identifier: GPL-2.0-or-later
//
// A node's journal becomes another one, in one write, and its copies stay as they are. A node that
// has a history of its own, because it was promoted or its journal has parted from the others',
// gives that up and follows again: its copies are compared with what is upstream. And one that has
// followed to the end follows somebody else, who has the same: nothing has to be compared.
#include "daemon/group.hpp"

#include "daemon/report/log.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace cascade {

using report::Level;

/// Whether there is something to be given up, and nobody uses it.
Result<void> GroupNode::may_rejoin() {
  if (storage_ == nullptr)
    return Error{Errc::refused,
                 fmt::format("{} is a primary of group {} alone: what its disks hold counts again "
                             "or not at all, see BEGINNING ANEW in dmcascade(8)",
                             node_, group_.name)};
  if (auto free = no_drill(); !free) return free;
  if (!taken_over()) {
    for (const auto& [peer, status] : upstream_)
      if (status.connected)
        return Error{Errc::refused, fmt::format("{} is connected: {} follows it, and has nothing "
                                                "to give up",
                                                peer, node_)};
    return {};
  }
  if (!storage_->journal->takeover().done())
    return Error{Errc::refused, "it is being promoted: rejoin it when that is through"};
  // What was handed over may be mounted.
  const auto copies = open_copies();
  return copies ? Result<void>{} : copies.error();
}

/// What that is, and what comes then; a line each.
api::Done GroupNode::given_up() const {
  const Journal& journal = *storage_->journal;
  const Takeover& takeover = journal.takeover();
  api::Done out;
  if (taken_over())
    out.push_back(
        fmt::format("what was written to the copies on {} since it was promoted at {}, as "
                    "generation {}, is given up",
                    node_, report::rfc3339(takeover.time_ns), to_text(takeover.generation)));
  const std::uint64_t held = taken_over() ? *takeover.seq : storage_->applier->applied_seq();
  out.push_back(fmt::format(
      "the journal, with writes through {}, is made anew{}", journal.stored_seq(),
      journal.stored_seq() <= held
          ? ""
          : fmt::format("; {} of them are not in the copies", journal.stored_seq() - held)));
  if (is_remote())
    out.push_back(
        fmt::format("the hub, {}, compares everything with the copies on {}, and copies "
                    "what differs",
                    group_.hub, node_));
  else
    out.push_back(fmt::format(
        "the primaries begin anew with it{}: see BEGINNING ANEW in "
        "dmcascade(8)",
        group_.remote.empty()
            ? ""
            : fmt::format(", and the remote, {}, has to rejoin as well", group_.remote)));
  return out;
}

Result<api::Done> GroupNode::rejoin(bool dry_run, const std::vector<std::string>& force) {
  if (auto may = may_rejoin(); !may) return may.error();
  api::Done lines = given_up();
  if (dry_run) return lines;
  if (!api::accepts(force, api::give_up_writes))
    return Error{Errc::refused, fmt::format("{}. To accept it: --force={}", fmt::join(lines, "; "),
                                            api::give_up_writes)};
  report::log(Level::warning, group_.name,
              fmt::format("{} rejoins, as told: {}", node_, fmt::join(lines, "; ")));
  next_journal_ = NextJournal::empty;
  begin_anew();
  return lines;
}

Result<void> GroupNode::swap() {
  if (storage_ == nullptr || taken_over())
    return Error{Errc::refused, fmt::format("{} does not follow the group", node_)};
  if (auto free = no_drill(); !free) return free;
  for (const auto& [peer, status] : upstream_)
    if (status.connected) return Error{Errc::refused, fmt::format("{} is connected", peer)};
  const Journal& journal = *storage_->journal;
  if (journal.limit_seq() != no_limit) return Error{Errc::refused, "a bracket is open here"};
  if (storage_->applier->applied_seq() < journal.received_seq())
    return Error{Errc::refused,
                 fmt::format("{} writes of the journal are not in the copies yet",
                             journal.received_seq() - storage_->applier->applied_seq())};
  report::log(Level::notice, group_.name,
              fmt::format("the journal on {} is made anew, as told: it begins with what the copies "
                          "hold, as of write {}",
                          node_, journal.received_seq()));
  next_journal_ = NextJournal::from_copies;
  begin_anew();
  return {};
}

/// Nobody uses the journal any more, and the group begins anew with what it is then.
Task<> GroupNode::make_next_journal() {
  Journal& journal = *storage_->journal;
  Result<void> done;
  if (next_journal_ == NextJournal::empty)
    done = co_await journal.give_up();
  else
    done = co_await journal.begin_from_copies();
  if (done) co_return;
  failure_ = done.error();
  begins_anew_ = false;
}

}  // namespace cascade
