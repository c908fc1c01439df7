// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/conditions.hpp"

#include "daemon/report/log.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace cascade {
namespace {

using Conditions = std::vector<api::Condition>;

/// Every code that there is, and what it means. packaging/man/dmcascade.8 lists the same.
struct Kind {
  const char* code;
  const char* impact;
};
constexpr Kind kinds[] = {
    {"ACCEPT_FAILED", "sessions that there are go on; no new one begins"},
    {"ALONE", "writes go on, and are on this machine only"},
    {"APPLY_DELAY_SHORT", "none, but that the copies can't be had as of so long ago"},
    {"BRACKET_OPEN", "writes go on; hub and remote show none of them until it closes"},
    {"BRACKET_PASSED", "until the bracket closes the copies are not an image of one moment"},
    {"CATCHING_UP", "the copies are as old as the bracket's beginning"},
    {"CATCH_UP_FAILED", "the remote stays as old as it is"},
    {"COPY_DIFFERS", "the copy does not hold what was written: a takeover there would show it"},
    {"COPY_FAILED", "the copies of this node stand still; its journal fills"},
    {"CONGESTION_CONTROL", "a long link that loses packets may be used badly"},
    {"COPIES_MAY_DIFFER", "the hub's copy may lack or hold what the primary's does not"},
    {"DEVICE_FAILED", "a remote becomes older; at a hub whose group stands for it, writes wait"},
    {"DEVICE_MISSING", "writes to the group wait at a hub; a remote becomes older"},
    {"DRILL", "none: the copies go on"},
    {"DRILL_BROKEN", "the image gives errors; the copies go on"},
    {"DRILL_SPACE_LOW", "none yet; once it is full the image gives errors, the copies go on"},
    {"GROUP_FAILED", "writes to the group wait at a hub; a remote becomes older"},
    {"JOURNAL_DAMAGED", "a remote becomes older; at a hub whose group stands for it, writes wait"},
    {"JOURNAL_FULL", "at a hub writes wait; a remote becomes older"},
    {"JOURNAL_NEARLY_FULL", "none yet"},
    {"LARGE_PACKETS_LOST", "nothing but heartbeats gets through"},
    {"LEASE_LOST", "by the volume's fence level: writes wait, fail, or it goes on alone"},
    {"LINK_DOWN",
     "downstream: what is written waits, or is here only; upstream: nothing new comes"},
    {"LISTENS_ON_LOOPBACK", "no session of another node begins"},
    {"LOCAL_WRITE_ERRORS", "applications were told of each; regions that failed are out of sync"},
    {"NOT_LISTENING", "no session of another node begins"},
    {"OUT_OF_SYNC", "the hub lacks what is marked until it is copied"},
    {"PROMOTED", "the copies here are devices that anybody may write; nothing is received"},
    {"PROMOTING", "nothing is received; the copies are on the way to where they are handed over"},
    {"REMOTE_BEHIND", "writes go on; the remote stays as old as it is until it has caught up"},
    {"REMOTE_COPIES_FAILED", "its journal goes on receiving until it is full; its copies grow old"},
    {"REMOTE_JOURNAL_FULL", "the remote takes nothing more; it grows old, and this journal fills"},
    {"REMOTE_LAGGING", "if primaries and hub are lost, so much is"},
    {"RESYNCING", "hub and remote show the volume's newest writes once it is through"},
    {"UNDO_FULL", "the copies stand still; the journal fills"},
    {"VOLUME_BEHIND", "hub and remote lack the volume's newest writes; they are not consistent"},
    {"VOLUME_NOT_CREATED", "the volume is not there"},
    {"VOLUME_REFUSED", "writes to the volume wait; under fence level status it goes on alone"},
};

const char* impact_of(std::string_view code) {
  const auto* kind = std::find_if(std::begin(kinds), std::end(kinds),
                                  [&](const Kind& k) { return k.code == code; });
  return kind == std::end(kinds) ? "" : kind->impact;
}

void raise(Conditions& out, const char* code, const char* severity, const std::string& subject,
           const std::string& reason, const std::string& action) {
  out.push_back({code, severity, subject, {}, reason, action, impact_of(code)});
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

/// By what kind of thing keeps a group from running.
const char* failure_code(const std::string& kind) {
  if (kind == api::word(Errc::not_found)) return "DEVICE_MISSING";
  if (kind == api::word(Errc::io)) return "DEVICE_FAILED";
  if (kind == api::word(Errc::corrupt)) return "JOURNAL_DAMAGED";
  return "GROUP_FAILED";
}

std::string downstream_peer(const api::Group& group) {
  for (const auto& link : group.links)
    if (link.direction == "downstream") return link.peer;
  return {};
}

/// What helps where something failed: a device can be mended, what it lost can not.
std::string mending(const api::Group& group, const std::string& failure) {
  // A promotion has nothing but this journal: making it anew would undo it.
  if (failure != api::word(Errc::corrupt) || group.takeover)
    return "mend what it names; it is tried again by itself";
  const auto& roles = group.roles;
  if (std::find(roles.begin(), roles.end(), "hub") != roles.end())
    return "what was damaged is on the primaries: see BEGINNING ANEW in dmcascade(8)";
  return fmt::format(
      "unless this node was promoted: with its daemon stopped 'dmcascade journal format {0} "
      "--force'; then, on the hub, 'dmcascade remote replace {0}'",
      group.name);
}

/// The journal can't be written, or the copies.
void of_devices(const api::Group& group, Conditions& out) {
  const api::Journal& journal = *group.journal;
  if (journal.state == "failed")
    return raise(out, failure_code(journal.failure), "error", "journal", journal.reason,
                 mending(group, journal.failure));
  if (!journal.copies_reason.empty())
    raise(out,
          journal.copies_failure == api::word(Errc::corrupt) ? "JOURNAL_DAMAGED" : "COPY_FAILED",
          "error", "copies", journal.copies_reason, mending(group, journal.copies_failure));
}

void of_journal(const api::Group& group, const WarningLimits& limits, Conditions& out) {
  if (!group.journal) return;
  const api::Journal& journal = *group.journal;
  of_devices(group, out);
  if (journal.state == "failed") return;
  if (!journal.ship_reason.empty())
    raise(out, failure_code(journal.ship_failure), "error", "journal",
          fmt::format("{}; nothing from there on is sent to {}", journal.ship_reason,
                      downstream_peer(group)),
          "mend what it names, which is noticed; if that can't be, make the remote anew: see "
          "BEGINNING ANEW in dmcascade(8)");
  const bool behind = group.remote && !group.remote->behind_since.empty();
  if (journal.apply_delay_short)
    raise(out, "APPLY_DELAY_SHORT", "warning", "copies",
          fmt::format("the journal of {} bytes has no room for what comes in {:.0f} s: the copies "
                      "are as of {}",
                      journal.size_bytes, journal.apply_delay_seconds.value_or(0),
                      journal.applied_time),
          "give it a larger journal, or a shorter apply-delay");
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

void of_remote(const api::Group& group, const WarningLimits& limits, Conditions& out) {
  if (!group.remote) return;
  const api::RemoteLag& remote = *group.remote;
  const std::string peer = downstream_peer(group);
  if (!remote.reason.empty())
    raise(out, "CATCH_UP_FAILED", "error", peer, remote.reason,
          "mend what it names; it is tried again by itself");
  if (!remote.copies_reason.empty())
    raise(out, "REMOTE_COPIES_FAILED", "error", peer, remote.copies_reason,
          fmt::format("mend what it names on {}; it is tried again by itself", peer));
  if (remote.journal_full)
    raise(out, "REMOTE_JOURNAL_FULL", "error", peer,
          remote.bracket ? "its journal can't hold the bracket that is open there"
                         : "its journal has no room for what comes next",
          remote.bracket
              ? fmt::format("give {} an undo device, or 'dmcascade bracket apply {}' there", peer,
                            group.name)
              : fmt::format("look at the copies of {}", peer));
  if (!remote.behind_since.empty())
    raise(out, "REMOTE_BEHIND", "warning", peer,
          fmt::format("it lacks writes since {}, more than the journal holds; {} bytes have to be "
                      "copied",
                      remote.behind_since, remote.out_of_sync_bytes),
          remote.journal_full ? "mend REMOTE_JOURNAL_FULL"
                              : "bring it or the link to it back; the rest happens by itself");
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
          fmt::format("let it grow, which is noticed, or 'dmcascade bracket apply {}' here",
                      group.name));
}

void of_verify(const api::Volume& volume, Conditions& out) {
  for (const auto& copy : volume.verify->copies)
    if (copy.differing_bytes > 0)
      raise(out, "COPY_DIFFERS", "error", fmt::format("{} on {}", volume.name, copy.node),
            fmt::format("{} bytes are not what the primary's volume held, found since {}",
                        copy.differing_bytes, copy.since),
            fmt::format("'dmcascade verify {} --repair' on {}; see VERIFY in dmcascade(8)",
                        volume.name, volume.primary));
}

/// What becomes of writes once the lease is over.
std::string without_hub(const api::Volume& volume) {
  if (volume.fence_level == "never")
    return "the hub is silent; the next write that waits for it makes the volume go on alone";
  if (volume.fence_level == "witness")
    return fmt::format(
        "the hub is silent, and the volume goes on alone once a write waits for it "
        "and the witness lets it: {}",
        volume.reason);
  return "the hub is silent; what is written waits for it, or fails, as on-fence says";
}

void of_volume(const api::Volume& volume, Conditions& out) {
  if (volume.verify) of_verify(volume, out);
  if (volume.state == "refused")
    raise(out, "VOLUME_REFUSED", "error", volume.name, volume.reason,
          "see REFUSED STREAMS in dmcascade(8)");
  if (volume.state == "behind")
    raise(out, "VOLUME_BEHIND", "warning", volume.name, volume.reason,
          fmt::format("bring {} back", volume.primary));
  if (volume.state == "not-created" || volume.state == "leaving")
    raise(out, "VOLUME_NOT_CREATED", "info", volume.name, volume.reason,
          fmt::format("dmcascade create {}", volume.name));
  if (volume.local_write_failed)
    raise(out, "LOCAL_WRITE_ERRORS", "warning", volume.name,
          fmt::format("its own disk failed to take writes, {} so far", volume.local_errors),
          "look at the disk (dmesg); what failed is copied again once it can be read");
  if (!volume.alone_since.empty())
    return raise(
        out, "ALONE", "error", volume.name,
        fmt::format("since {} nothing that is written here is anywhere else; {} bytes so "
                    "far: {}",
                    volume.alone_since, volume.out_of_sync_bytes.value_or(0), volume.reason),
        "bring the hub or the link to it back; the rest happens by itself");
  if (volume.lease_seconds && *volume.lease_seconds <= 0)
    raise(out, "LEASE_LOST", "warning", volume.name, without_hub(volume),
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
  if (!link.loss.empty())
    raise(
        out, "LARGE_PACKETS_LOST", "error", link.peer, link.loss,
        "look at the MTU of every hop (ping -M do -s SIZE), and let ICMP through; or set a smaller "
        "one here: ip link set DEV mtu SIZE");
  if (!link.congestion.empty())
    raise(out, "CONGESTION_CONTROL", "warning", link.peer,
          link.congestion + "; the system's own is used",
          "load its module (modprobe tcp_bbr), or correct ship-congestion (sysctl "
          "net.ipv4.tcp_available_congestion_control); the next session takes it");
  if (link.state == "connected") return;
  raise(out, "LINK_DOWN", link.direction == "downstream" ? "error" : "warning", link.peer,
        link.reason, "look at the other node and at the network between");
}

/// What others are, and how far, does not matter to a node that was promoted.
void of_takeover(const api::Group& group, Conditions& out) {
  const api::Takeover& takeover = *group.takeover;
  if (group.journal) of_devices(group, out);
  if (takeover.state == "promoted")
    raise(out, "PROMOTED", "info", "",
          fmt::format("since {}, as of write {}, generation {}", takeover.since,
                      takeover.through_seq, takeover.generation),
          "for the way back see TAKEOVER in dmcascade(8)");
  else
    raise(out, "PROMOTING", "warning", "",
          fmt::format("since {}: {} writes are left", takeover.since, takeover.left_writes), "");
}

// Of the space of a drill's image.
constexpr double drill_used_warning = 0.8;

void of_image(const api::Group& group, const api::Drill::Image& image, Conditions& out) {
  const std::string end = fmt::format("'dmcascade drill stop {}'", group.name);
  if (image.broken)
    return raise(out, "DRILL_BROKEN", "warning", image.volume,
                 image.path.empty() ? "its image is gone, what was put under it is not"
                                    : "the space for what has changed is full, or failed",
                 end + (image.path.empty() ? "" : "; the next one may get more, with --space"));
  const auto used = static_cast<double>(image.used_bytes);
  if (used > drill_used_warning * static_cast<double>(image.space_bytes))
    raise(out, "DRILL_SPACE_LOW", "warning", image.volume,
          fmt::format("{} of {} bytes for what has changed since are used", image.used_bytes,
                      image.space_bytes),
          end + " in time");
}

void of_drill(const api::Group& group, Conditions& out) {
  for (const auto& image : group.drill->images) of_image(group, image, out);
  if (group.drill->state == "running")
    raise(out, "DRILL", "info", "",
          fmt::format("images as of write {}, {}", group.drill->as_of_seq, group.drill->since),
          fmt::format("'dmcascade drill stop {}' when it is over", group.name));
}

std::string heading(const std::string& code, const std::string& subject) {
  return subject.empty() ? code : code + " " + subject;
}

report::Level level(const api::Condition& condition) {
  return api::weight(condition) == 0   ? report::Level::error
         : api::weight(condition) == 1 ? report::Level::warning
                                       : report::Level::notice;
}

}  // namespace

Conditions find_conditions(const api::Group& group, const WarningLimits& limits) {
  Conditions out;
  if (group.takeover) {
    of_takeover(group, out);
    return out;
  }
  of_journal(group, limits, out);
  of_remote(group, limits, out);
  of_bracket(group, out);
  if (group.drill) of_drill(group, out);
  for (const auto& volume : group.volumes) of_volume(volume, out);
  for (const auto& link : group.links) of_link(link, out);
  std::stable_sort(out.begin(), out.end(), [](const api::Condition& a, const api::Condition& b) {
    return api::weight(a) < api::weight(b);
  });
  return out;
}

std::vector<std::string> condition_codes() {
  std::vector<std::string> out;
  for (const Kind& kind : kinds) out.emplace_back(kind.code);
  return out;
}

Conditions find_conditions(const api::StatusReport& node) {
  Conditions out;
  if (!node.listener) return out;
  const api::Listener& listener = *node.listener;
  if (listener.state == "down")
    raise(out, "NOT_LISTENING", "error", "listener", listener.reason,
          "correct the address of this node, or wait for it; it is tried again by itself");
  else if (!listener.reason.empty())
    raise(out, "ACCEPT_FAILED", "error", "listener",
          fmt::format("nobody can come in: {}", listener.reason),
          "raise the limit that it names (LimitNOFILE of the unit); it is tried again by itself");
  if (listener.loopback)
    raise(out, "LISTENS_ON_LOOPBACK", "error", "listener",
          fmt::format("{} is an address of this machine for itself: no other node gets here",
                      listener.address),
          "write an address that others reach in the configuration, or correct /etc/hosts");
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
