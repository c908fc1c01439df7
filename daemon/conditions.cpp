// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/conditions.hpp"

#include "daemon/report/log.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {
namespace {

using Conditions = std::vector<api::Condition>;

// A journal this full leaves little time to act.
constexpr std::uint64_t nearly_full_percent = 80;

void of_journal(const api::Group& group, Conditions& out) {
  if (!group.journal) return;
  const api::Journal& journal = *group.journal;
  const bool held = group.bracket.has_value();
  if (journal.state == "failed") {
    out.push_back({"GROUP_FAILED",
                   "error",
                   "journal",
                   {},
                   journal.reason,
                   "mend what it names, then restart dmcascaded here"});
    return;
  }
  if (!journal.reason.empty())
    out.push_back({"JOURNAL_FULL",
                   "error",
                   "journal",
                   {},
                   journal.reason,
                   held
                       ? "bring back what BRACKET_OPEN names, or 'dmcascade bracket end' on the hub"
                       : "look at the link to the remote, and at its copies"});
  else if (journal.size_bytes > 0 &&
           journal.used_bytes >= journal.size_bytes / 100 * nearly_full_percent)
    out.push_back({"JOURNAL_NEARLY_FULL",
                   "warning",
                   "journal",
                   {},
                   fmt::format("{} of {} bytes are used; when it is full, writers wait",
                               journal.used_bytes, journal.size_bytes),
                   held
                       ? "bring back what BRACKET_OPEN names, or 'dmcascade bracket end' on the hub"
                       : "look at the link to the remote, and at its copies"});
}

void of_bracket(const api::Group& group, Conditions& out) {
  if (!group.bracket) return;
  for (const auto& waiting : group.bracket->volumes)
    out.push_back(
        {"BRACKET_OPEN",
         "warning",
         waiting.volume,
         {},
         fmt::format("the copies stand at write {} until it is here again: {}",
                     group.bracket->applied_through, waiting.waits_for),
         fmt::format("bring it back, or 'dmcascade bracket end {} --without {}' on the hub",
                     group.name, waiting.volume)});
}

void of_volume(const api::Volume& volume, Conditions& out) {
  if (volume.state == "refused")
    out.push_back({"VOLUME_REFUSED",
                   "error",
                   volume.name,
                   {},
                   volume.reason,
                   "see REFUSED STREAMS in dmcascade(8)"});
  if (volume.state == "behind")
    out.push_back({"VOLUME_BEHIND",
                   "warning",
                   volume.name,
                   {},
                   volume.reason,
                   fmt::format("bring {} back", volume.primary)});
  if (volume.state == "not-created")
    out.push_back({"VOLUME_NOT_CREATED",
                   "info",
                   volume.name,
                   {},
                   volume.reason,
                   fmt::format("dmcascade create {}", volume.name)});
  const bool out_of_sync = volume.out_of_sync_bytes.value_or(0) > 0;
  if (out_of_sync)
    out.push_back({volume.state == "replicating" ? "RESYNCING" : "OUT_OF_SYNC",
                   "warning",
                   volume.name,
                   {},
                   fmt::format("{} of {} bytes have to be copied to the hub",
                               *volume.out_of_sync_bytes, volume.size_bytes),
                   {}});
  if (!volume.differs.empty() && !out_of_sync)
    out.push_back({"COPIES_MAY_DIFFER",
                   "warning",
                   volume.name,
                   {},
                   volume.differs,
                   "see COPIES THAT MAY DIFFER in dmcascade(8)"});
}

void of_link(const api::Link& link, Conditions& out) {
  if (link.state == "connected") return;
  out.push_back({"LINK_DOWN",
                 link.direction == "downstream" ? "error" : "warning",
                 link.peer,
                 {},
                 link.reason,
                 "look at the other node and at the network between"});
}

int weight(const api::Condition& condition) {
  return condition.severity == "error" ? 0 : condition.severity == "warning" ? 1 : 2;
}

report::Level level(const api::Condition& condition) {
  return weight(condition) == 0   ? report::Level::error
         : weight(condition) == 1 ? report::Level::warning
                                  : report::Level::notice;
}

}  // namespace

Conditions find_conditions(const api::Group& group) {
  Conditions out;
  of_journal(group, out);
  of_bracket(group, out);
  for (const auto& volume : group.volumes) of_volume(volume, out);
  for (const auto& link : group.links) of_link(link, out);
  std::stable_sort(out.begin(), out.end(), [](const api::Condition& a, const api::Condition& b) {
    return weight(a) < weight(b);
  });
  return out;
}

void ConditionLog::update(Conditions& now, std::uint64_t realtime_ns) {
  std::map<Key, std::uint64_t> held;
  for (api::Condition& condition : now) {
    const Key key{condition.code, condition.subject};
    const auto before = since_.find(key);
    held[key] = before == since_.end() ? realtime_ns : before->second;
    condition.since = report::rfc3339(held[key]);
    if (before == since_.end())
      report::log(level(condition), subject_,
                  fmt::format("{} {}: {}", condition.code, condition.subject, condition.reason));
  }
  for (const auto& [key, since] : since_)
    if (!held.contains(key))
      report::log(report::Level::notice, subject_,
                  fmt::format("{} {} is over", key.first, key.second));
  since_ = std::move(held);
}

}  // namespace cascade
