// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/conditions.hpp"

#include "daemon/report/log.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {
namespace {

using Conditions = std::vector<api::Condition>;

void raise(Conditions& out, const char* code, const char* severity, const std::string& subject,
           const std::string& reason, const std::string& action) {
  out.push_back({code, severity, subject, {}, reason, action});
}

/// What helps a journal that holds more than it should.
std::string journal_action(const api::Group& group) {
  if (!group.bracket) return "look at the link to the remote, and at its copies";
  if (group.bracket->volumes.empty())
    return fmt::format("give this node an undo device, or 'dmcascade bracket apply {}' here",
                       group.name);
  return "bring back what BRACKET_OPEN names, or 'dmcascade bracket end' on the hub";
}

/// Whether this hub lets its remote fall behind before anybody waits.
bool may_fall_behind(const api::Group& group) {
  return group.remote && !group.bracket && group.on_journal_full == "suspend";
}

void of_journal(const api::Group& group, const WarningLimits& limits, Conditions& out) {
  if (!group.journal) return;
  const api::Journal& journal = *group.journal;
  if (journal.state == "failed")
    return raise(out, "GROUP_FAILED", "error", "journal", journal.reason,
                 "mend what it names, then restart dmcascaded here");
  const bool behind = group.remote && !group.remote->behind_since.empty();
  if (!journal.reason.empty())
    raise(out, "JOURNAL_FULL", "error", "journal", journal.reason, journal_action(group));
  else if (journal.size_bytes > 0 && !behind &&
           journal.used_bytes >= journal.size_bytes / 100 * limits.journal_percent)
    raise(out, "JOURNAL_NEARLY_FULL", "warning", "journal",
          fmt::format("{} of {} bytes are used; when it is full, {}", journal.used_bytes,
                      journal.size_bytes,
                      may_fall_behind(group) ? "the remote falls behind" : "writers wait"),
          journal_action(group));
}

std::string downstream_peer(const api::Group& group) {
  for (const auto& link : group.links)
    if (link.direction == "downstream") return link.peer;
  return {};
}

void of_remote(const api::Group& group, const WarningLimits& limits, Conditions& out) {
  if (!group.remote) return;
  const api::RemoteLag& remote = *group.remote;
  const std::string peer = downstream_peer(group);
  if (!remote.reason.empty())
    raise(out, "CATCH_UP_FAILED", "error", peer, remote.reason,
          "mend what it names, then restart dmcascaded here");
  if (!remote.behind_since.empty())
    raise(out, "REMOTE_BEHIND", "warning", peer,
          fmt::format("it lacks writes since {}, more than the journal holds; {} bytes have to be "
                      "copied",
                      remote.behind_since, remote.out_of_sync_bytes),
          "bring it or the link to it back; the rest happens by itself");
  else if (remote.lag_seconds >= limits.lag_seconds)
    raise(out, "REMOTE_LAGGING", "warning", peer,
          fmt::format("it is {:.0f} s behind, {} bytes", remote.lag_seconds, remote.backlog_bytes),
          "look at the link to it, and at its journal");
}

void of_bracket(const api::Group& group, Conditions& out) {
  if (!group.bracket) return;
  const api::Bracket& bracket = *group.bracket;
  for (const auto& waiting : bracket.volumes)
    raise(out, "BRACKET_OPEN", "warning", waiting.volume,
          fmt::format("the copies stand at write {} until it is here again: {}",
                      bracket.applied_through, waiting.waits_for),
          fmt::format("bring it back, or 'dmcascade bracket end {} --without {}' on the hub",
                      group.name, waiting.volume));
  if (bracket.catching_up)
    raise(out, "CATCHING_UP", "warning", "",
          fmt::format("the copies stand at write {} until what was missed has been copied from the "
                      "hub",
                      bracket.applied_through),
          "");
  if (bracket.past == "gone")
    raise(out, "BRACKET_PASSED", "error", "",
          fmt::format("the copies went past write {} for good: they are no consistent image until "
                      "the bracket closes",
                      bracket.applied_through),
          "");
  if (bracket.past == "undo")
    raise(out, "BRACKET_PASSED", "warning", "",
          fmt::format("the journal can't hold the bracket: the copies went past write {}; what "
                      "they held there is kept on {}, {} of {} bytes",
                      bracket.applied_through, bracket.undo_path, bracket.undo_used_bytes,
                      bracket.undo_size_bytes),
          "");
  if (bracket.undo_full)
    raise(out, "UNDO_FULL", "error", bracket.undo_path,
          "it has no room for what the copies hold at the bracket, so they stand still",
          fmt::format("give this node a larger one and restart dmcascaded, or 'dmcascade bracket "
                      "apply {}' here",
                      group.name));
}

void of_volume(const api::Volume& volume, Conditions& out) {
  if (volume.state == "refused")
    raise(out, "VOLUME_REFUSED", "error", volume.name, volume.reason,
          "see REFUSED STREAMS in dmcascade(8)");
  if (volume.state == "behind")
    raise(out, "VOLUME_BEHIND", "warning", volume.name, volume.reason,
          fmt::format("bring {} back", volume.primary));
  if (volume.state == "not-created")
    raise(out, "VOLUME_NOT_CREATED", "info", volume.name, volume.reason,
          fmt::format("dmcascade create {}", volume.name));
  if (!volume.alone_since.empty())
    return raise(
        out, "ALONE", "error", volume.name,
        fmt::format("since {} nothing that is written here is anywhere else; {} bytes so "
                    "far: {}",
                    volume.alone_since, volume.out_of_sync_bytes.value_or(0), volume.reason),
        "bring the hub or the link to it back; the rest happens by itself");
  if (volume.lease_seconds && *volume.lease_seconds <= 0)
    raise(out, "LEASE_LOST", "warning", volume.name,
          volume.fence_level == "never"
              ? "the hub is silent; the next write that waits for it makes the volume go on alone"
              : "the hub is silent; what is written waits for it, or fails, as on-fence says",
          "bring the hub or the link to it back");
  if (volume.out_of_sync_bytes.value_or(0) > 0)
    raise(out, volume.state == "replicating" ? "RESYNCING" : "OUT_OF_SYNC", "warning", volume.name,
          fmt::format("{} of {} bytes have to be copied to the hub", *volume.out_of_sync_bytes,
                      volume.size_bytes),
          "");
  else if (!volume.differs.empty())
    raise(out, "COPIES_MAY_DIFFER", "warning", volume.name, volume.differs,
          "see COPIES THAT MAY DIFFER in dmcascade(8)");
}

void of_link(const api::Link& link, Conditions& out) {
  if (link.state == "connected") return;
  raise(out, "LINK_DOWN", link.direction == "downstream" ? "error" : "warning", link.peer,
        link.reason, "look at the other node and at the network between");
}

std::string heading(const std::string& code, const std::string& subject) {
  return subject.empty() ? code : code + " " + subject;
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

Conditions find_conditions(const api::Group& group, const WarningLimits& limits) {
  Conditions out;
  of_journal(group, limits, out);
  of_remote(group, limits, out);
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
      report::log(
          level(condition), subject_,
          fmt::format("{}: {}", heading(condition.code, condition.subject), condition.reason));
  }
  for (const auto& [key, since] : since_)
    if (!held.contains(key))
      report::log(report::Level::notice, subject_, heading(key.first, key.second) + " is over");
  since_ = std::move(held);
}

}  // namespace cascade
