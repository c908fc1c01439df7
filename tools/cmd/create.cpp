// SPDX-License-Identifier: GPL-2.0-or-later
//
// create, remove, table: mapped devices of this node's volumes.
#include "lib/dm/device.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <memory>
#include <vector>

#include <unistd.h>

namespace cascade {
namespace {

struct Chosen {
  std::vector<std::string> names;
  bool all = false;
};

using Volume = std::pair<const GroupConfig*, const VolumeConfig*>;

Error not_ours(const VolumeConfig& volume, const std::string& node) {
  return Error{Errc::refused, fmt::format("{}: its primary is {}, this node is {}; run this there",
                                          volume.name, volume.primary, node)};
}

/// The volumes named on the command line, or all of which this node is the primary.
Result<std::vector<Volume>> choose(const Loaded& loaded, const Chosen& chosen) {
  std::vector<Volume> out;
  for (const std::string& name : chosen.names) {
    const auto found = find_volume(loaded.config, name);
    if (!found)
      return Error{Errc::not_found, fmt::format("{}: no such volume in the configuration", name)};
    if (found->second->primary != loaded.node) return not_ours(*found->second, loaded.node);
    out.push_back(*found);
  }
  if (!chosen.all) return out;
  for (const GroupConfig& group : loaded.config.groups)
    for (const VolumeConfig& volume : group.volumes)
      if (volume.primary == loaded.node) out.emplace_back(&group, &volume);
  return out;
}

Result<void> need_root() {
  if (::geteuid() == 0) return {};
  return Error{Errc::refused, "this needs root"};
}

/// Whether the device is there with this table; the kernel prints devices as major:minor.
bool same_table(const std::string& there, const Uuid& uuid) {
  return there.find(fmt::format("cascade {} ", to_text(uuid))) != std::string::npos;
}

/// What create would make, as the kernel would print it.
Result<std::string> wanted_table(const Volume& v, std::uint64_t sectors) {
  const std::string& path = v.second->disk.at(v.second->primary);
  auto number = dm::device_number(path);
  if (!number) return number.error();
  std::string params = dm::table_params(*v.first, *v.second);
  params.replace(params.find(path), path.size(), *number);
  return fmt::format("0 {} {} {}", sectors, dm::target_type, params);
}

/// The device is there: with the table of the file, or with another one that somebody has to apply.
Result<void> compare_table(const Volume& v, const std::string& there, std::uint64_t sectors) {
  const std::string& name = v.second->name;
  auto wanted = wanted_table(v, sectors);
  if (!wanted) return wanted.error();
  if (there != *wanted)
    return Error{
        Errc::refused,
        fmt::format("{0}: is there with another table: it has '{1}', the configuration says "
                    "'{2}'; apply it with: dmsetup reload {0} --table \"$(dmcascade table "
                    "{0})\" && dmsetup suspend {0} && dmsetup resume {0} (ring_size: remove "
                    "and create)",
                    name, there, *wanted)};
  fmt::print("{}: is already there\n", name);
  return {};
}

Result<void> create_one(const Volume& v) {
  const auto& [group, volume] = v;
  auto there = dm::read_table(volume->name);
  if (!there) return there.error();
  if (*there && !same_table(**there, volume->uuid))
    return Error{Errc::refused, fmt::format("{}: a mapped device of that name exists with another "
                                            "table: {}",
                                            volume->name, **there)};
  auto sectors = dm::device_sectors(volume->disk.at(volume->primary));
  if (!sectors)
    return Error{sectors.error().code, fmt::format("{}: {}", volume->name, sectors.error().text)};
  if (*there) return compare_table(v, **there, *sectors);
  auto created =
      dm::create(volume->name, volume->uuid, *sectors, dm::table_params(*group, *volume));
  if (!created) return created;
  fmt::print("{}: created /dev/mapper/{}\n", volume->name, volume->name);
  return {};
}

Result<void> remove_one(const Volume& v) {
  const std::string& name = v.second->name;
  auto there = dm::read_table(name);
  if (!there) return there.error();
  if (!*there) {
    fmt::print("{}: is not there\n", name);
    return {};
  }
  if (!same_table(**there, v.second->uuid))
    return Error{Errc::refused,
                 fmt::format("{}: is not a device of this volume: {}", name, **there)};
  auto removed = dm::remove(name);
  if (removed) fmt::print("{}: removed\n", name);
  return removed;
}

int for_each(const Options& options, const Chosen& chosen, Result<void> (*act)(const Volume&)) {
  int code = exit_ok;
  if (chosen.names.empty() && !chosen.all)
    return complain(options, Error{Errc::invalid, "name a VOLUME or --all"}, exit_usage);
  if (auto root = need_root(); !root) return complain(options, root.error(), exit_permission);
  const auto loaded = load(options, code);
  if (!loaded) return code;
  auto volumes = choose(*loaded, chosen);
  if (!volumes) return complain(options, volumes.error());
  for (const Volume& volume : *volumes)
    if (auto done = act(volume); !done) code = complain(options, done.error());
  return code;
}

int print_table(const Options& options, const std::string& name) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  auto volumes = choose(*loaded, {{name}});
  if (!volumes) return complain(options, volumes.error());
  const auto& [group, volume] = volumes->front();
  auto sectors = dm::device_sectors(volume->disk.at(volume->primary));
  if (!sectors) return complain(options, sectors.error());
  fmt::print("0 {} {} {}\n", *sectors, dm::target_type, dm::table_params(*group, *volume));
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
  command->final_callback([&, chosen] {
    action = [&options, chosen] { return for_each(options, *chosen, create_one); };
  });
}

void add_remove(CLI::App& app, const Options& options, Action& action) {
  auto chosen = std::make_shared<Chosen>();
  CLI::App* command = app.add_subcommand("remove", "Remove the mapped devices of volumes");
  add_choice(*command, *chosen);
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
