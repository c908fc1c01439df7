// SPDX-License-Identifier: GPL-2.0-or-later
//
// journal format, accept-copy, show: the journal of a group on this node: makes it, and tells of
// it.
#include "lib/config/units.hpp"
#include "lib/journal/format_device.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <memory>

namespace cascade {
namespace {

struct JournalWanted {
  std::string group;
  std::string size;
  bool force = false;
};

Result<std::string> path_of(const GroupConfig& group, const std::string& node) {
  if (group.keeps_journal(node)) return group.journal.at(node);
  return Error{Errc::refused,
               fmt::format("{}: node {} keeps no journal of it; hub is {}{}", group.name, node,
                           group.hub, group.remote.empty() ? "" : ", remote is " + group.remote)};
}

Result<void> format_group(const GroupConfig& group, const std::string& node,
                          const JournalWanted& wanted) {
  const auto path = path_of(group, node);
  if (!path) return path.error();
  std::optional<std::uint64_t> bytes;
  if (!wanted.size.empty()) {
    bytes = parse_size(wanted.size);
    if (!bytes)
      return Error{Errc::invalid, fmt::format("--size {}: write a size like 64MiB", wanted.size)};
  }
  auto made = format_journal(*path, group.uuid, bytes, wanted.force);
  if (!made) return made.error();
  fmt::print("{}: journal on {}, {} for writes\n", group.name, *path,
             human_bytes(made->data_bytes));
  return {};
}

const char* standing_text(const Standing& standing) {
  switch (standing.mark) {
    case CASCADE_MARK_DETACHED:
      return ", the bracket waits for it";
    case CASCADE_MARK_LEFT:
      return ", left behind";
    default:
      return "";
  }
}

/// What the superblock said when it was written last: about a second ago under a running daemon.
Result<void> show_group(const GroupConfig& group, const std::string& node, const JournalWanted&) {
  const auto path = path_of(group, node);
  if (!path) return path.error();
  const auto sb = read_journal(*path, group.uuid);
  if (!sb) return sb.error();
  const Uuid nobody{};
  fmt::print("group {}  journal {} on {}, {}\n", group.name, to_text(sb->journal), *path,
             sb->clean ? "closed in order" : "open, or not closed in order");
  fmt::print("  writes {} to {} stored, {} applied; history {:016x} before write {}\n",
             sb->tail_seq, sb->stored_seq, sb->applied_seq, sb->tail_history, sb->tail_seq);
  fmt::print("  {} for writes, opening {}, superblock {}\n", human_bytes(sb->data_bytes), sb->epoch,
             sb->generation);
  if (sb->follower != nobody) fmt::print("  followed by journal {}\n", to_text(sb->follower));
  if (sb->limit_seq != no_limit)
    fmt::print("  bracket open: the copies stand at write {}\n", sb->limit_seq);
  if (sb->takeover.decided())
    fmt::print("  promoted here: generation {}{}\n", to_text(sb->takeover.generation),
               sb->takeover.done() ? fmt::format(", as of write {}", *sb->takeover.seq)
                                   : ", the copies are on the way");
  for (const auto& [uuid, place] : sb->volumes)
    fmt::print(
        "  volume {}: write {}{}{}{}\n", group.name_of(uuid), place.volume_seq,
        place.source.generation == nobody ? ""
                                          : " of generation " + to_text(place.source.generation),
        place.source.incarnation == nobody ? "" : ", ring " + to_text(place.source.incarnation),
        standing_text(place.standing));
  return {};
}

int accept_copy_of(const Options& options, const std::string& name) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  const auto found = find_volume(loaded->config, name);
  if (!found) return complain(options, found.error());
  const auto& [group, volume] = *found;
  const auto path = path_of(*group, loaded->node);
  if (!path) return complain(options, path.error());
  if (auto done = accept_copy(*path, group->uuid, volume->uuid); !done)
    return complain(options, done.error());
  fmt::print("{}: the device that has the copy next is taken as the right one\n", volume->name);
  return exit_ok;
}

int for_each(const Options& options, const JournalWanted& wanted,
             Result<void> (*act)(const GroupConfig&, const std::string&, const JournalWanted&)) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  if (!wanted.group.empty() && loaded->config.group(wanted.group) == nullptr)
    return complain(options, Error{Errc::not_found, fmt::format("{}: no such group in the "
                                                                "configuration",
                                                                wanted.group)});
  bool any = false;
  for (const GroupConfig& group : loaded->config.groups) {
    const bool mine = group.keeps_journal(loaded->node);
    if (wanted.group.empty() ? !mine : group.name != wanted.group) continue;
    any = true;
    if (auto done = act(group, loaded->node, wanted); !done) code = complain(options, done.error());
  }
  if (any) return code;
  return complain(options,
                  Error{Errc::refused, fmt::format("node {} keeps no journal", loaded->node)});
}

}  // namespace

void add_journal(CLI::App& app, const Options& options, Action& action) {
  CLI::App* journal = app.add_subcommand("journal", "Journals of hub and remote");
  journal->require_subcommand(1);
  auto wanted = std::make_shared<JournalWanted>();
  CLI::App* command =
      journal->add_subcommand("format", "Make this node's journal of a group, or of all");
  command->add_option("GROUP", wanted->group, "A group of the configuration");
  command->add_option("--size", wanted->size, "Make a file of this size, like 1GiB");
  command->add_flag("--force", wanted->force, "Even if the device holds something");
  command->final_callback([&, wanted] {
    action = [&options, wanted] { return for_each(options, *wanted, format_group); };
  });
  auto accepted = std::make_shared<std::string>();
  CLI::App* accept = journal->add_subcommand(
      "accept-copy", "The copy of a volume was moved to another device of this node");
  accept->add_option("VOLUME", *accepted, "A volume of the configuration")->required();
  accept->final_callback([&, accepted] {
    action = [&options, accepted] { return accept_copy_of(options, *accepted); };
  });
  auto shown = std::make_shared<JournalWanted>();
  CLI::App* show = journal->add_subcommand("show", "Say what it holds, and of which history");
  show->add_option("GROUP", shown->group, "A group of the configuration");
  show->final_callback(
      [&, shown] { action = [&options, shown] { return for_each(options, *shown, show_group); }; });
}

}  // namespace cascade
