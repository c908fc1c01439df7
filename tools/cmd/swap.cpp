// SPDX-License-Identifier: GPL-2.0-or-later
//
// swap: this node's part of a group becomes what the file says, where nodes have changed roles, and
// nothing has to be copied: what its disks hold is known, and is written down where the new role
// looks for it. A node that was primary and keeps a journal now: its areas say it. One that kept a
// journal and is primary now: that does. Whoever comes together then compares the two (I5), so
// that what is not the same is refused, not taken for it.
//
// Of journal and area one counts at each moment. The new one is written whole before the old one is
// put out of use, so that a crash in between leaves a node that can do this once more.
#include "lib/dm/device.hpp"
#include "lib/journal/format_device.hpp"
#include "tools/apply.hpp"
#include "tools/area.hpp"
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace cascade {
namespace {

constexpr std::chrono::seconds telling_wait{2};
constexpr std::chrono::seconds close_wait{1};

constexpr const char* remote_behind = "remote-behind";
constexpr const char* compare_all = "compare-all";

struct SwapWanted {
  std::string group;
  unsigned wait = 60;  // seconds for everything to arrive where it has to be
  std::vector<std::string> force;
};

struct Node {
  const Options& options;
  const Loaded& loaded;
  const GroupConfig& group;
  const SwapWanted& wanted;

  const std::string& name() const { return loaded.node; }
  bool accepts(const char* word) const { return api::accepts(wanted.force, word); }
  std::string socket() const { return options.socket.value_or(loaded.config.daemon.socket); }
};

Error refused(std::string why) { return Error{Errc::refused, std::move(why)}; }

/// Until `why_not` has nothing to say any more; an error of it ends the waiting.
template <class F>
Result<void> wait_until_nothing(const Node& node, F why_not) {
  const auto begin = std::chrono::steady_clock::now();
  for (bool told = false;; std::this_thread::sleep_for(look_interval)) {
    const Result<std::string> why = why_not();
    if (!why) return why.error();
    if (why->empty()) return {};
    const auto waited = std::chrono::steady_clock::now() - begin;
    if (waited >= std::chrono::seconds(node.wanted.wait))
      return refused(fmt::format("{}, still after {} s", *why, node.wanted.wait));
    if (told || waited < telling_wait) continue;
    fmt::print("{}: waits: {}\n", node.group.name, *why);
    std::fflush(stdout);
    told = true;
  }
}

// ---- what is on this node

/// The journal of the group, and whether it is what counts here.
struct KeptJournal {
  std::string path;
  std::optional<Superblock> sb;

  bool retired() const { return sb && sb->takeover.decided(); }
  /// One that no daemon has opened says nothing that would be lost.
  bool counts() const { return sb && !retired() && sb->epoch > 0; }
};

Result<KeptJournal> find_journal(const Node& node) {
  const auto at = node.group.journal.find(node.name());
  if (at == node.group.journal.end()) return KeptJournal{};
  auto sb = read_journal(at->second, node.group.uuid);
  if (sb) return KeptJournal{at->second, std::move(*sb)};
  if (sb.error().code == Errc::not_found) return KeptJournal{at->second, {}};
  return sb.error();
}

struct KeptArea {
  const VolumeConfig* volume;
  meta::Place place;
  meta::Area area;
};

/// The area of a volume on this node, if there is one, and it is of this disk: the copy of a disk
/// may have that disk's area at its end.
Result<std::optional<KeptArea>> find_area(const Node& node, const VolumeConfig& volume) {
  using Found = std::optional<KeptArea>;
  if (!volume.disk.contains(node.name())) return Found{};
  const auto place = dm::place_of(volume, node.name());
  if (!place && place.error().code == Errc::not_found) return Found{};
  if (!place) return about(volume, place.error());
  auto area = meta::read_area(*place, volume.uuid);
  if (!area && area.error().code == Errc::not_found) return Found{};
  if (!area) return about(volume, area.error());
  if (!same_devices(volume, node.name(), *area)) return Found{};
  return Found(KeptArea{&volume, *place, std::move(*area)});
}

Result<std::vector<KeptArea>> find_areas(const Node& node) {
  std::vector<KeptArea> out;
  for (const VolumeConfig& volume : node.group.volumes) {
    auto found = find_area(node, volume);
    if (!found) return found.error();
    if (*found) out.push_back(std::move(**found));
  }
  return out;
}

/// What the journal knows of a volume is newer than its area.
bool overtaken(const KeptArea& kept, const Superblock& sb) {
  const auto at = sb.volumes.find(kept.volume->uuid);
  return at != sb.volumes.end() && at->second.volume_seq >= kept.area.end_seq;
}

/// The group as the daemon has it; nothing if it has none of it.
Result<std::optional<api::Group>> ask_daemon(const Node& node) {
  const auto report = ask_status(node.socket());
  if (!report) return report.error();
  const api::Group* group = find_group(*report, node.group.name);
  return group == nullptr ? std::optional<api::Group>{} : std::optional(*group);
}

bool has_role(const api::Group& group, const char* role) {
  return std::find(group.roles.begin(), group.roles.end(), role) != group.roles.end();
}

int finish(const Node& node) {
  const int code = apply_node(node.options, node.loaded, false);
  if (code == exit_ok) fmt::print("{}: {} is as the file says\n", node.group.name, node.name());
  return code;
}

/// What the hub would miss, or others would, if it ended now.
Result<std::string> why_not_drained(const Node& node, const api::Group& group) {
  for (const api::Link& link : group.links)
    if (link.direction == "upstream" && link.state == "connected")
      return fmt::format("{} is connected: 'dmcascade swap {}' on it first", link.peer,
                         node.group.name);
  if (group.drill) return refused("a drill runs here: 'dmcascade drill stop' first");
  for (const api::Volume& volume : group.volumes) {
    if (volume.state == "failed") return fmt::format("{}: {}", volume.name, volume.reason);
    if (volume.lease_seconds)
      return fmt::format("{}: {} may go on alone", volume.name, volume.primary);
  }
  if (group.bracket) return std::string("its bracket is open");
  if (!group.journal || group.journal->state != "ok") return std::string("its journal is not open");
  if (group.journal->apply_delay_seconds && group.journal->applied_seq < group.journal->stored_seq)
    return refused(
        "its copies wait by apply-delay: 'dmcascade reload' with a file without that, "
        "and then this");
  if (group.journal->applied_seq < group.journal->stored_seq)
    return fmt::format("{} writes of its journal are not in its copies",
                       group.journal->stored_seq - group.journal->applied_seq);
  if (!group.remote || node.accepts(remote_behind)) return std::string{};
  const api::RemoteLag& remote = *group.remote;
  if (remote.stored_seq >= group.journal->stored_seq && remote.behind_since.empty())
    return std::string{};
  return fmt::format(
      "the remote lacks writes that are here; --force={} goes on without them, and "
      "all of it is compared then",
      remote_behind);
}

/// Until the daemon, as it still is, has nothing against it.
Result<void> wait_for_daemon(const Node& node,
                             const std::function<Result<std::string>(const api::Group&)>& why_not) {
  return wait_until_nothing(node, [&]() -> Result<std::string> {
    const auto now = ask_daemon(node);
    if (!now) return now.error();
    return *now ? why_not(**now) : std::string{};
  });
}

Result<void> wait_until_drained(const Node& node) {
  return wait_for_daemon(node,
                         [&](const api::Group& group) { return why_not_drained(node, group); });
}

/// Whether one of its links goes to, or comes from, another hub than the file says.
bool has_other_hub(const Node& node, const api::Group& group, const char* direction) {
  return std::any_of(group.links.begin(), group.links.end(), [&](const api::Link& link) {
    return link.direction == direction && link.peer != node.group.hub;
  });
}

// ---- from primary to hub or remote

/// Nothing of them is on its way, or out of sync.
std::string why_not_in_sync(const api::Group& group) {
  for (const api::Volume& volume : group.volumes) {
    if (volume.role != "primary" || volume.state == "not-created" || volume.state == "leaving")
      continue;
    if (volume.state != "replicating")
      return fmt::format("{}: is {}: {}", volume.name, volume.state, volume.reason);
    if (volume.out_of_sync_bytes.value_or(0) != 0)
      return fmt::format("{}: {} bytes are out of sync", volume.name, *volume.out_of_sync_bytes);
  }
  return {};
}

/// They were removed in order, and the hub was told, which waits for nobody then.
std::string why_not_left(const api::Group& group) {
  for (const api::Volume& volume : group.volumes)
    if (volume.role == "primary" && volume.state != "not-created")
      return fmt::format("{}: {}", volume.name, volume.reason);
  return {};
}

/// In order, unless the word for what it means otherwise was said.
Result<void> close_volumes(const Node& node, const char* otherwise) {
  const bool in_order = !node.accepts(otherwise);
  const auto wait_for_hub = [&](auto why_not) -> Result<void> {
    if (!in_order) return {};
    auto ok = wait_for_daemon(node, why_not);
    if (ok) return ok;
    return Error{ok.error().code,
                 fmt::format("{}; --force={} does not wait for that, and all of it is compared",
                             ok.error().text, otherwise)};
  };
  if (auto ok = wait_for_hub(why_not_in_sync); !ok) return ok;
  for (const VolumeConfig& volume : node.group.volumes) {
    const auto removed = remove_device(volume, close_wait);
    if (!removed) return removed.error();
    if (*removed) fmt::print("{}: removed\n", volume.name);
  }
  return wait_for_hub(why_not_left);
}

/// What this node's disk holds of a volume, by its area; null: it has none.
Result<VolumePlace> held_by_disk(const Node& node, const KeptArea* kept) {
  if (kept == nullptr)
    return refused(
        fmt::format("what its disk on {} holds is not known: {} was not its primary, and "
                    "keeps no journal",
                    node.name(), node.name()));
  if (auto ended = meta::ended_in_order(kept->place, kept->area); !ended) return ended.error();
  return VolumePlace{.volume_seq = kept->area.end_seq,
                     .source = {.generation = kept->area.generations.front().id},
                     .bytes = kept->area.volume_bytes};
}

/// Of all volumes of the group; without those of which it is not known, if that is accepted: they
/// are compared.
Result<Beginning> held_by_disks(const Node& node, const std::vector<KeptArea>& areas) {
  Beginning held;
  for (const VolumeConfig& volume : node.group.volumes) {
    const auto kept = std::find_if(areas.begin(), areas.end(),
                                   [&](const KeptArea& a) { return a.volume == &volume; });
    const auto place = held_by_disk(node, kept == areas.end() ? nullptr : &*kept);
    if (place) {
      held[volume.uuid] = *place;
      fmt::print("{}: its disk is a copy now, as of write {}\n", volume.name, place->volume_seq);
      continue;
    }
    if (place.error().code != Errc::refused || !node.accepts(api::give_up_writes))
      return about(volume, {place.error().code,
                            fmt::format("{}; --force={} makes it a copy all the same, which gets "
                                        "what its new primary has",
                                        place.error().text, api::give_up_writes)});
    fmt::print("{}: its disk is a copy now, and is compared: {}\n", volume.name,
               place.error().text);
  }
  return held;
}

Result<void> wipe(const std::vector<KeptArea>& areas) {
  for (const KeptArea& kept : areas)
    if (auto wiped = meta::wipe_area(kept.place, kept.volume->uuid); !wiped)
      return about(*kept.volume, wiped.error());
  return {};
}

Result<void> from_areas_to_journal(const Node& node, const KeptJournal& journal) {
  if (auto closed = close_volumes(node, api::give_up_writes); !closed) return closed;
  const auto areas = find_areas(node);
  if (!areas) return areas.error();
  const auto held = held_by_disks(node, *areas);
  if (!held) return held.error();
  const auto made =
      format_journal(journal.path, node.group.uuid, {}, journal.sb.has_value(), *held);
  if (!made) return made.error();
  return wipe(*areas);
}

/// Whether it keeps its journal for others than the file says, by its daemon.
bool kept_for_others(const Node& node, const api::Group& group) {
  const bool hub = node.name() == node.group.hub;
  return has_role(group, "hub") != hub || (!hub && has_other_hub(node, group, "upstream"));
}

/// The same node keeps a journal, of another hub or as one.
Result<void> keep_for_others(const Node& node) {
  const auto group = ask_daemon(node);
  if (!group) return group.error();
  const bool gives_up = node.accepts(api::give_up_writes);
  if (!*group || !(*group)->journal || !(gives_up || kept_for_others(node, **group))) {
    fmt::print("{}: {} keeps its journal as the file says\n", node.group.name, node.name());
    return {};
  }
  api::Request request{std::string(gives_up ? api::command_rejoin : api::command_swap),
                       node.group.name};
  request.force = node.wanted.force;
  if (!gives_up)
    if (auto drained = wait_until_drained(node); !drained) return drained;
  if (const auto told = tell(node.socket(), request); !told) return told.error();
  fmt::print("{}: the journal on {} begins anew, {}\n", node.group.name, node.name(),
             gives_up ? "and the copies are compared" : "with what the copies hold");
  return wait_for_daemon(node, [](const api::Group& now) -> std::string {
    const bool anew = now.journal && now.journal->state == "ok" && now.journal->received_seq == 0;
    return anew ? "" : "its journal has not begun anew";
  });
}

Result<void> become_keeper(const Node& node) {
  const auto journal = find_journal(node);
  if (!journal) return journal.error();
  const auto areas = find_areas(node);
  if (!areas) return areas.error();
  if (!journal->counts()) return from_areas_to_journal(node, *journal);
  for (const KeptArea& kept : *areas)
    if (!overtaken(kept, *journal->sb))
      return about(*kept.volume,
                   refused(fmt::format("the journal on {} knows less of it than its metadata area "
                                       "does: if it was the primary until now, 'dmcascade journal "
                                       "format {} --force' and then this",
                                       journal->path, node.group.name)));
  // Left by a crash. Where the daemon has the disk already it stays, and is known by its number.
  if (auto wiped = wipe(*areas); !wiped && wiped.error().code != Errc::refused) return wiped;
  return keep_for_others(node);
}

// ---- from hub or remote to primary

/// The daemon lets go of the copies once it has read the file.
Result<void> end_role(const Node& node) {
  auto group = ask_daemon(node);
  if (!group) return group.error();
  if (*group && (*group)->journal)
    if (auto drained = wait_until_drained(node); !drained) return drained;
  return apply_to_daemon(node.socket(), false);
}

/// Where it may become primary of what its copies hold.
struct Berth {
  const VolumeConfig* volume;
  meta::Place place;
  VolumePlace held;
};

Result<std::vector<Berth>> find_berths(const Node& node, const Beginning& held) {
  std::vector<Berth> out;
  for (const VolumeConfig& volume : node.group.volumes) {
    if (volume.primary != node.name()) continue;
    const auto place = dm::place_of(volume);
    if (!place) return about(volume, place.error());
    const auto at = held.find(volume.uuid);
    if (at == held.end() || at->second.source.generation == Uuid{})
      return about(volume, refused(fmt::format("the journal on {} has no history of it",
                                               node.group.journal.at(node.name()))));
    if (place->volume_bytes < at->second.bytes)
      return about(volume,
                   refused(fmt::format("it has {} bytes, and its disk on {} has room for {} "
                                       "only; make that larger, or give its metadata "
                                       "area a device of its own (meta)",
                                       at->second.bytes, node.name(), place->volume_bytes)));
    out.push_back({&volume, *place, at->second});
  }
  return out;
}

Result<void> make_area_behind(const Node& node, const Berth& berth, const Uuid& generation) {
  const VolumeConfig& volume = *berth.volume;
  meta::Area area = meta::area_behind(volume.uuid, berth.place, {generation, berth.held.volume_seq},
                                      berth.held.source.generation, berth.held.bytes, now_ns());
  name_devices(volume, node.name(), berth.place, area);
  // An area that is there is out of date, for the journal counted; and at the end of the copy,
  // behind what the volume has, nothing is anybody's.
  const bool ours = volume.meta.empty() || meta::read_area(berth.place, volume.uuid).has_value();
  if (auto made = meta::format_area(berth.place, area, ours); !made) return made;
  fmt::print("{}: goes on here behind write {}, as generation {}\n", volume.name,
             berth.held.volume_seq, to_text(generation));
  return {};
}

Result<void> from_journal_to_areas(const Node& node, const KeptJournal& journal) {
  // Before anything is ended.
  if (auto fits = find_berths(node, journal.sb->volumes); !fits) return fits.error();
  if (auto ended = end_role(node); !ended) return ended;
  std::optional<Beginning> held;
  auto closed = wait_until_nothing(node, [&]() -> Result<std::string> {
    const auto sb = read_journal(journal.path, node.group.uuid);
    if (!sb) return sb.error();
    const auto now = held_by_copies(*sb);
    if (!now) return now.error().text;
    held = *now;
    return std::string{};
  });
  if (!closed) return closed;
  const auto berths = find_berths(node, *held);
  if (!berths) return berths.error();
  const Uuid generation = make_uuid();
  for (const Berth& berth : *berths)
    if (auto made = make_area_behind(node, berth, generation); !made)
      return about(*berth.volume, made.error());
  return retire_journal(journal.path, node.group.uuid, generation, now_ns());
}

/// Another hub has to prove that it has the same; or is compared, if that is accepted.
Result<void> leave_hub(const Node& node, const KeptArea& kept) {
  if (node.accepts(compare_all)) {
    fmt::print("{}: goes on with {}, and is compared\n", kept.volume->name, node.group.hub);
    return begin_from_here(kept.place, kept.area);
  }
  if (auto ended = meta::ended_in_order(kept.place, kept.area); !ended)
    return Error{ended.error().code, fmt::format("{}; --force={} compares all of it with {}",
                                                 ended.error().text, compare_all, node.group.hub)};
  meta::Area area = kept.area;
  area.journal = {};
  area.written_ns = now_ns();
  fmt::print("{}: goes on behind write {} with {}\n", kept.volume->name, area.end_seq,
             node.group.hub);
  return meta::rewrite_super(kept.place, area);
}

/// A primary of the group goes on with another hub.
Result<void> leave_hubs(const Node& node) {
  const auto group = ask_daemon(node);
  if (!group) return group.error();
  if (!*group || !has_other_hub(node, **group, "downstream")) return {};
  if (auto closed = close_volumes(node, compare_all); !closed) return closed;
  const auto areas = find_areas(node);
  if (!areas) return areas.error();
  for (const KeptArea& kept : *areas) {
    if (kept.volume->primary != node.name()) continue;
    if (auto left = leave_hub(node, kept); !left) return about(*kept.volume, left.error());
  }
  return {};
}

/// What a disk holds of a volume of which it becomes the primary, and has no area.
Result<void> take_as_it_is(const Node& node, const VolumeConfig& volume,
                           const KeptJournal& journal) {
  if (!journal.retired())
    return refused(fmt::format(
        "what its disk on {0} holds is not known: no metadata area says it, nor a journal{1}; "
        "'dmcascade create --new {2}' begins its history",
        node.name(),
        journal.path.empty() ? fmt::format(" (if {} kept one until now, leave its entry in the "
                                           "file's 'journal')",
                                           node.name())
                             : " on " + journal.path,
        volume.name));
  // The group was promoted here, and its copies were used as they are: what they hold counts, and
  // nobody knows where others differ.
  if (!journal.sb->takeover.done())
    return refused("its group is being promoted here: swap it when that is through");
  const auto place = dm::place_of(volume);
  if (!place) return place.error();
  if (auto made = make_area(volume, *place, volume.meta.empty(), true); !made) return made.error();
  fmt::print("{}: goes on here as it is, and is compared with its copies\n", volume.name);
  return {};
}

Result<void> make_missing_areas(const Node& node, const KeptJournal& journal) {
  for (const VolumeConfig& volume : node.group.volumes) {
    if (volume.primary != node.name()) continue;
    const auto there = find_area(node, volume);
    if (!there) return there.error();
    if (*there) continue;
    if (auto taken = take_as_it_is(node, volume, journal); !taken)
      return about(volume, taken.error());
  }
  return {};
}

Result<void> become_primary(const Node& node) {
  const auto journal = find_journal(node);
  if (!journal) return journal.error();
  if (journal->counts()) return from_journal_to_areas(node, *journal);
  if (auto made = make_missing_areas(node, *journal); !made) return made;
  return leave_hubs(node);
}

int swap(const Options& options, const SwapWanted& wanted) {
  int code = exit_ok;
  if (auto root = need_root(); !root) return complain(options, root.error(), exit_permission);
  const auto loaded = load(options, code);
  if (!loaded) return code;
  const GroupConfig* group = loaded->config.group(wanted.group);
  if (group == nullptr)
    return complain(options,
                    Error{Errc::not_found,
                          fmt::format("{}: no such group in the configuration", wanted.group)});
  const Node node{options, *loaded, *group, wanted};
  const auto done = group->keeps_journal(loaded->node) ? become_keeper(node) : become_primary(node);
  if (!done)
    return complain(options,
                    {done.error().code, fmt::format("{}: {}", group->name, done.error().text)});
  return finish(node);
}

}  // namespace

void add_swap(CLI::App& app, const Options& options, Action& action) {
  auto wanted = std::make_shared<SwapWanted>();
  CLI::App* command = app.add_subcommand(
      "swap", "Take the role that the file says in a group, without copying anything");
  command->add_option("GROUP", wanted->group, "A group of the configuration")->required();
  command->add_option("--wait", wanted->wait, "Seconds for writes to arrive where they have to be")
      ->capture_default_str();
  command
      ->add_option("--force", wanted->force,
                   "What is accepted: remote-behind, give-up-writes, compare-all")
      ->delimiter(',')
      ->check(CLI::IsMember({remote_behind, api::give_up_writes, compare_all}));
  command->final_callback(
      [&, wanted] { action = [&options, wanted] { return swap(options, *wanted); }; });
}

}  // namespace cascade
