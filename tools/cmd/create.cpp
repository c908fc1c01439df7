// SPDX-License-Identifier: GPL-2.0-or-later
//
// create, apply, remove, table: mapped devices of this node's volumes. apply also tells the daemon.
#include "lib/dm/device.hpp"
#include "tools/apply.hpp"
#include "tools/area.hpp"
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

namespace cascade {
namespace {

struct Chosen {
  std::vector<std::string> names;
  bool all = false;
  bool make_new = false;       // create: with a new metadata area
  bool sync = false;           // create --new: all of the volume has to be copied
  bool accept_device = false;  // create: the devices are others, and that is right
  bool force = false;
  bool dry_run = false;  // apply: say what would be done
  unsigned wait = 1;     // remove: seconds until it is not open any more
};

using Volume = GroupVolume;

/// The volumes named on the command line, or all of which this node is the primary.
Result<std::vector<Volume>> choose(const Loaded& loaded, const Chosen& chosen) {
  std::vector<Volume> out;
  for (const std::string& name : chosen.names) {
    const auto found = find_own_volume(loaded, name);
    if (!found) return found.error();
    out.push_back(*found);
  }
  if (!chosen.all) return out;
  for (const GroupConfig& group : loaded.config.groups)
    for (const VolumeConfig& volume : group.volumes)
      if (volume.primary == loaded.node) out.emplace_back(&group, &volume);
  return out;
}

/// Whether the device is there with this table; the kernel prints devices as major:minor.
bool same_table(const std::string& there, const Uuid& uuid) {
  return there.find(fmt::format("cascade {} ", to_text(uuid))) != std::string::npos;
}

std::string table_line(const Volume& v, const meta::Place& place) {
  return fmt::format("0 {} {} {}", place.volume_bytes / 512, dm::target_type,
                     dm::table_params(*v.first, *v.second, place));
}

/// What create would make, as the kernel would print it.
Result<std::string> wanted_table(const Volume& v, const meta::Place& place) {
  std::string line = table_line(v, place);
  std::size_t at = 0;
  for (const std::string& path : {v.second->disk.at(v.second->primary), place.device}) {
    auto number = dm::device_number(path);
    if (!number) return number.error();
    at = line.find(path, at);
    line.replace(at, path.size(), *number);
    at += number->size();
  }
  return line;
}

/// The device is there: with the table of the file, or with another one that somebody has to apply.
Result<void> compare_table(const Volume& v, const std::string& there, const meta::Place& place) {
  const std::string& name = v.second->name;
  auto wanted = wanted_table(v, place);
  if (!wanted) return wanted.error();
  if (there != *wanted)
    return Error{
        Errc::refused,
        fmt::format("{0}: is there with another table: it has '{1}', the configuration says "
                    "'{2}'; 'dmcascade apply {0}' applies that",
                    name, there, *wanted)};
  fmt::print("{}: is already there\n", name);
  return {};
}

/// The area of a volume that is to be created, or why it can't be.
Result<meta::Area> usable_area(const Volume& v, const meta::Place& place, const Chosen& chosen) {
  const VolumeConfig& volume = *v.second;
  if (chosen.make_new) {
    if (auto made = make_area(volume, place, chosen.force, chosen.sync); !made) return made.error();
    fmt::print("{}: new metadata area on {}\n", volume.name, place.device);
  }
  auto area = meta::read_area(place, volume.uuid);
  if (!area && area.error().code == Errc::not_found)
    return Error{area.error().code,
                 fmt::format("{}; 'dmcascade create --new {}' begins its history, with --sync if "
                             "the disk holds what the hub's copy does not",
                             area.error().text, volume.name)};
  if (!area) return area;
  if (place.volume_bytes < area->volume_bytes ||
      meta::area_bytes(place.volume_bytes) > area->area_bytes)
    return Error{Errc::refused,
                 fmt::format("its metadata area is for a volume of {} bytes, the devices give {}; "
                             "bring the device back to its size, or begin anew (dmcascade(8))",
                             area->volume_bytes, place.volume_bytes)};
  if (chosen.accept_device) return accept_devices(volume, place, *area);
  if (auto same = same_devices(volume, volume.primary, *area); !same) return same.error();
  return area;
}

void warn_of_differences(const std::string& name, const meta::Area& area) {
  const std::uint32_t differs = area.differs | (area.clean ? 0 : CASCADE_DIFFERS_UNCLEAN);
  if (differs != 0)
    fmt::print(stderr,
               "dmcascade: warning: {}: it and the hub's copy may differ: {}; what is out of sync "
               "is copied once the hub is there, see status\n",
               name, meta::differs_text(differs));
}

Result<void> create_one(const Volume& v, const Chosen& chosen) {
  const auto& [group, volume] = v;
  auto there = dm::read_table(volume->name);
  if (!there) return there.error();
  if (*there && !same_table(**there, volume->uuid))
    return Error{Errc::refused, fmt::format("{}: a mapped device of that name exists with another "
                                            "table: {}",
                                            volume->name, **there)};
  const auto place = dm::place_of(*volume);
  if (!place) return about(*volume, place.error());
  if (*there && chosen.make_new)
    return Error{Errc::refused, fmt::format("{0}: is there; remove it before you make it new: "
                                            "dmcascade remove {0}",
                                            volume->name)};
  if (*there) return compare_table(v, **there, *place);
  const auto area = usable_area(v, *place, chosen);
  if (!area) return about(*volume, area.error());
  auto created = dm::create(volume->name, volume->uuid, place->volume_bytes / 512,
                            dm::table_params(*group, *volume, *place));
  if (!created) return created;
  fmt::print("{}: created /dev/mapper/{}\n", volume->name, volume->name);
  warn_of_differences(volume->name, *area);
  return {};
}

/// What the file says: makes the device if it is not there; else writers notice nothing.
Result<void> apply_one(const Volume& v, const Chosen& chosen) {
  const std::string& name = v.second->name;
  const auto there = dm::read_table(name);
  if (!there) return there.error();
  if (!*there && chosen.dry_run) {
    fmt::print("{}: would be created\n", name);
    return {};
  }
  if (!*there) return create_one(v, chosen);
  if (!same_table(**there, v.second->uuid))
    return Error{Errc::refused,
                 fmt::format("{}: is not a device of this volume: {}", name, **there)};
  const auto place = dm::place_of(*v.second);
  if (!place) return about(*v.second, place.error());
  const auto wanted = wanted_table(v, *place);
  if (!wanted) return wanted.error();
  if (**there == *wanted) {
    fmt::print("{}: is as the file says\n", name);
    return {};
  }
  fmt::print("{}: {}\n  from {}\n  to   {}\n", name,
             chosen.dry_run ? "would be changed" : "is changed", **there, *wanted);
  if (chosen.dry_run) return {};
  return dm::reload(name, place->volume_bytes / 512, dm::table_params(*v.first, *v.second, *place));
}

/// A device of ours that the file does not ask for on this node.
Result<void> apply_to_stray(const dm::Made& made, bool dry_run) {
  if (dry_run) {
    fmt::print("{}: would be removed: the file has no such volume here\n", made.name);
    return {};
  }
  auto removed = dm::remove(made.name, std::chrono::seconds(Chosen{}.wait));
  if (removed) fmt::print("{}: removed: the file has no such volume here\n", made.name);
  return removed;
}

bool is_wanted(const std::vector<Volume>& volumes, const dm::Made& made) {
  return std::any_of(volumes.begin(), volumes.end(), [&](const Volume& v) {
    return v.second->name == made.name && v.second->uuid == made.volume;
  });
}

}  // namespace

Result<bool> remove_device(const VolumeConfig& volume, std::chrono::seconds wait) {
  const auto there = dm::read_table(volume.name);
  if (!there) return there.error();
  if (!*there) return false;
  if (!same_table(**there, volume.uuid))
    return Error{Errc::refused,
                 fmt::format("{}: is not a device of this volume: {}", volume.name, **there)};
  if (auto removed = dm::remove(volume.name, wait); !removed) return removed.error();
  return true;
}

Result<void> apply_to_daemon(const std::string& socket, bool dry_run) {
  const auto done = tell(socket, {std::string(api::command_reload), {}, {}, dry_run});
  if (!done && done.error().code == Errc::closed) {
    fmt::print("dmcascaded: does not run\n");
    return {};
  }
  if (!done) return done.error();
  if (done->empty()) fmt::print("dmcascaded: is as the file says\n");
  for (const std::string& line : *done)
    fmt::print("dmcascaded: {}{}\n", dry_run ? "would do: " : "", line);
  return {};
}

int apply_node(const Options& options, const Loaded& loaded, bool dry_run) {
  int code = exit_ok;
  const auto note = [&](const Result<void>& done) {
    if (!done) code = complain(options, done.error());
  };
  Chosen all;
  all.all = true;
  all.dry_run = dry_run;
  const auto volumes = choose(loaded, all);
  const auto made = dm::list_made();
  if (!made) return complain(options, made.error());
  // What goes first: its name, its disk and its place at the hub may be another's now.
  for (const dm::Made& device : *made)
    if (!is_wanted(*volumes, device)) note(apply_to_stray(device, dry_run));
  note(apply_to_daemon(options.socket.value_or(loaded.config.daemon.socket), dry_run));
  for (const Volume& volume : *volumes) note(apply_one(volume, all));
  return code;
}

namespace {

Result<void> remove_one(const Volume& v, const Chosen& chosen) {
  const auto removed = remove_device(*v.second, std::chrono::seconds(chosen.wait));
  if (!removed) return removed.error();
  fmt::print("{}: {}\n", v.second->name, *removed ? "removed" : "is not there");
  return {};
}

int for_each(const Options& options, const Chosen& chosen,
             Result<void> (*act)(const Volume&, const Chosen&)) {
  int code = exit_ok;
  if (chosen.names.empty() && !chosen.all)
    return complain(options, Error{Errc::invalid, "name a VOLUME or --all"}, exit_usage);
  if (auto root = need_root(); !root) return complain(options, root.error(), exit_permission);
  const auto loaded = load(options, code);
  if (!loaded) return code;
  auto volumes = choose(*loaded, chosen);
  if (!volumes) return complain(options, volumes.error());
  for (const Volume& volume : *volumes)
    if (auto done = act(volume, chosen); !done) code = complain(options, done.error());
  return code;
}

int apply(const Options& options, const Chosen& chosen) {
  if (!chosen.names.empty()) return for_each(options, chosen, apply_one);
  int code = exit_ok;
  if (auto root = need_root(); !root) return complain(options, root.error(), exit_permission);
  const auto loaded = load(options, code);
  return loaded ? apply_node(options, *loaded, chosen.dry_run) : code;
}

int print_table(const Options& options, const std::string& name) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  auto volumes = choose(*loaded, {{name}});
  if (!volumes) return complain(options, volumes.error());
  const auto place = dm::place_of(*volumes->front().second);
  if (!place) return complain(options, place.error());
  fmt::print("{}\n", table_line(volumes->front(), *place));
  return exit_ok;
}

void add_choice(CLI::App& command, Chosen& chosen) {
  auto* names = command.add_option("VOLUME", chosen.names, "Volumes of the configuration");
  auto* all =
      command.add_flag("--all", chosen.all, "All volumes of which this node is the primary");
  names->excludes(all);
}

}  // namespace

void add_create(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<Chosen>();
  CLI::App* command = app.add_subcommand("create", "Create the mapped devices of volumes");
  add_choice(*command, *chosen);
  auto* make_new = command->add_flag(
      "--new", chosen->make_new,
      "With a new metadata area, which begins the volume's history: the hub's and the remote's "
      "copies have the same content, or --sync");
  command
      ->add_flag("--sync", chosen->sync,
                 "--new: the copies do not have the volume's content, copy all of it")
      ->needs(make_new);
  command->add_flag("--force", chosen->force, "--new: even where something is");
  command->add_flag("--accept-device", chosen->accept_device,
                    "The volume's content was moved to other devices, and that is right");
  command->final_callback([&, chosen] {
    action = [&options, chosen] { return for_each(options, *chosen, create_one); };
  });
}

void add_apply(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<Chosen>();
  CLI::App* command = app.add_subcommand(
      "apply", "Make this node as the configuration says: the daemon, and devices of volumes");
  command->add_option("VOLUME", chosen->names, "Only the devices of these");
  command->add_flag("--dry-run", chosen->dry_run, "Say what would be done, and do nothing");
  command->final_callback(
      [&, chosen] { action = [&options, chosen] { return apply(options, *chosen); }; });
}

void add_remove(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<Chosen>();
  CLI::App* command = app.add_subcommand("remove", "Remove the mapped devices of volumes");
  add_choice(*command, *chosen);
  command->add_option("--wait", chosen->wait, "How many seconds it may still be open")
      ->capture_default_str();
  command->final_callback([&, chosen] {
    action = [&options, chosen] { return for_each(options, *chosen, remove_one); };
  });
}

void add_table(CLI::App& app, const Options& options, Action& action) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("table", "Print a volume's table line, for dmsetup");
  command->add_option("VOLUME", *name, "A volume of the configuration")->required();
  command->final_callback(
      [&, name] { action = [&options, name] { return print_table(options, *name); }; });
}

}  // namespace cascade
