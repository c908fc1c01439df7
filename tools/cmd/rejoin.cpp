// SPDX-License-Identifier: GPL-2.0-or-later
//
// rejoin: this node gives up a history of its own, and follows again. Says what is given up, asks,
// and waits until the daemon has begun anew.
#include "tools/client.hpp"
#include "tools/drill.hpp"

#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <unistd.h>

namespace cascade {
namespace {

constexpr std::chrono::seconds begin_wait{30};

struct RejoinWanted {
  std::string group;
  bool yes = false;
  bool dry_run = false;
  bool keep = false;
  std::string folder = drill_folder;
  std::vector<std::string> force;
};

api::Request request_for(const RejoinWanted& wanted, bool dry_run) {
  api::Request out{std::string(api::command_rejoin), wanted.group};
  out.dry_run = dry_run;
  out.force = wanted.force;
  return out;
}

/// Whether whoever sits there wants it, with all that was said.
Result<void> ask(RejoinWanted& wanted) {
  if (::isatty(STDIN_FILENO) != 1)
    return Error{Errc::refused, fmt::format("nobody can be asked here; say --yes --force={}",
                                            api::give_up_writes)};
  fmt::print("To give that up, type the group's name: ");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
  if (line != wanted.group) return Error{Errc::refused, "nothing was done"};
  wanted.force.push_back(api::give_up_writes);
  return {};
}

/// Until the group has begun anew.
Result<void> wait_until_it_follows(const std::string& socket, const std::string& name) {
  const bool follows = look_until(begin_wait, [&] {
    const auto report = ask_status(socket);
    const api::Group* group = report ? find_group(*report, name) : nullptr;
    return group != nullptr && group->journal && group->journal->state == "ok" && !group->takeover;
  });
  if (follows) return {};
  return Error{Errc::io, fmt::format("it has not begun anew within {} s: status says why",
                                     begin_wait.count())};
}

int rejoin(const Options& options, RejoinWanted wanted) {
  int code = 0;
  const auto socket = find_socket(options, {wanted.group}, code);
  if (!socket) return code;
  const auto failed = [&](const Error& error) {
    return complain(options, {error.code, fmt::format("{}: {}", wanted.group, error.text)});
  };
  const auto plan = tell(*socket, request_for(wanted, true));
  if (!plan) return failed(plan.error());
  if (options.json && wanted.dry_run) {
    fmt::print("{}\n", api::outcome_json(*plan));
    return exit_ok;
  }
  if (!options.json)
    for (const std::string& line : *plan) fmt::print("{}: {}\n", wanted.group, line);
  if (wanted.dry_run) return exit_ok;
  if (!wanted.yes)
    if (auto asked = ask(wanted); !asked) return failed(asked.error());
  if (wanted.keep)
    if (const int failure = start_drill(options, wanted.group, wanted.folder); failure != exit_ok)
      return failure;
  const auto told = tell(*socket, request_for(wanted, false));
  if (!told) return failed(told.error());
  if (auto follows = wait_until_it_follows(*socket, wanted.group); !follows)
    return failed(follows.error());
  if (options.json)
    fmt::print("{}\n", api::outcome_json(*told));
  else
    fmt::print("{}: it follows again; status shows how far it is\n", wanted.group);
  return exit_ok;
}

}  // namespace

void add_rejoin(CLI::App& app, const Options& options, Action& action) {
  auto wanted = std::make_shared<RejoinWanted>();
  CLI::App* command = app.add_subcommand(
      "rejoin", "This node gives up what only it has of a group, and follows again");
  command->add_option("GROUP", wanted->group, "A group of the configuration")->required();
  command->add_flag("-n,--dry-run", wanted->dry_run, "Only say what would be given up");
  command->add_flag("-y,--yes", wanted->yes, "Do not ask");
  command->add_flag(
      "--keep", wanted->keep,
      "Keep what is given up in images, as 'drill start' makes them, until 'drill stop'");
  command->add_option("--in", wanted->folder, "Folder for that")->capture_default_str();
  command->add_option("--force", wanted->force, "What is accepted: give-up-writes")
      ->delimiter(',')
      ->check(CLI::IsMember({api::give_up_writes}));
  command->final_callback(
      [&, wanted] { action = [&options, wanted] { return rejoin(options, *wanted); }; });
}

}  // namespace cascade
