// SPDX-License-Identifier: GPL-2.0-or-later
//
// journal format: makes the journal of a group on this node.
#include "lib/config/units.hpp"
#include "lib/journal/format_device.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <memory>

namespace cascade {
namespace {

struct Wanted {
  std::string group;
  std::string size;
  bool force = false;
};

Result<void> format_group(const GroupConfig& group, const std::string& node, const Wanted& wanted) {
  const auto path = group.journal.find(node);
  if (path == group.journal.end())
    return Error{Errc::refused,
                 fmt::format("{}: node {} keeps no journal of it; hub is {}{}", group.name, node,
                             group.hub, group.remote.empty() ? "" : ", remote is " + group.remote)};
  std::optional<std::uint64_t> bytes;
  if (!wanted.size.empty()) {
    bytes = parse_size(wanted.size);
    if (!bytes)
      return Error{Errc::invalid, fmt::format("--size {}: write a size like 64MiB", wanted.size)};
  }
  auto made = format_journal(path->second, group.uuid, bytes, wanted.force);
  if (!made) return made.error();
  fmt::print("{}: journal on {}, {} for writes\n", group.name, path->second,
             human_bytes(made->data_bytes));
  return {};
}

int format(const Options& options, const Wanted& wanted) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  if (!wanted.group.empty() && loaded->config.group(wanted.group) == nullptr)
    return complain(options, Error{Errc::not_found, fmt::format("{}: no such group in the "
                                                                "configuration",
                                                                wanted.group)});
  bool any = false;
  for (const GroupConfig& group : loaded->config.groups) {
    const bool mine = group.journal.contains(loaded->node);
    if (wanted.group.empty() ? !mine : group.name != wanted.group) continue;
    any = true;
    if (auto done = format_group(group, loaded->node, wanted); !done)
      code = complain(options, done.error());
  }
  if (any) return code;
  return complain(options,
                  Error{Errc::refused, fmt::format("node {} keeps no journal", loaded->node)});
}

}  // namespace

void add_journal(CLI::App& app, const Options& options, Action& action) {
  CLI::App* journal = app.add_subcommand("journal", "Journals of hub and remote");
  journal->require_subcommand(1);
  auto wanted = std::make_shared<Wanted>();
  CLI::App* command =
      journal->add_subcommand("format", "Make this node's journal of a group, or of all");
  command->add_option("GROUP", wanted->group, "A group of the configuration");
  command->add_option("--size", wanted->size, "Make a file of this size, like 1GiB");
  command->add_flag("--force", wanted->force, "Even if the device holds something");
  command->final_callback(
      [&, wanted] { action = [&options, wanted] { return format(options, *wanted); }; });
}

}  // namespace cascade
