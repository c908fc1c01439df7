// SPDX-License-Identifier: GPL-2.0-or-later
//
// promote: this node's copies of a group become devices to go on with. Says what would be missing,
// asks, and waits until they are handed over.
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include <unistd.h>

namespace cascade {
namespace {

constexpr int looks_between_lines = 15;  // 3 s
constexpr int looks_in_error = 75;       // 15 s

struct PromoteWanted {
  std::string group;
  bool newest = false;
  bool yes = false;
  bool dry_run = false;
  std::uint64_t at_ns = 0;
  std::vector<std::string> force;
};

api::Request request_for(const PromoteWanted& wanted, bool dry_run) {
  api::Request out{std::string(api::command_promote), wanted.group};
  out.newest = wanted.newest;
  out.dry_run = dry_run;
  out.force = wanted.force;
  out.at_ns = wanted.at_ns;
  return out;
}

std::string plural(std::uint64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string copy_lines(const api::Takeover& takeover) {
  std::string out;
  for (const auto& copy : takeover.copies) out += fmt::format("  {}: {}\n", copy.volume, copy.path);
  return out;
}

/// What it would mean.
std::string describe(const api::Takeover& plan) {
  std::string out = fmt::format(
      "group {}: the copies on {} would be handed over as of {}write {}, {}\n", plan.group,
      plan.node, plan.at.empty() ? "" : fmt::format("{}, at the most ", plan.at), plan.through_seq,
      plan.left_writes == 0 ? "which they have" : plural(plan.left_writes, "write") + " from here");
  out += copy_lines(plan);
  for (const auto& doubt : plan.doubts)
    out += fmt::format("  {}: {}{}{}\n", doubt.force, doubt.subject,
                       doubt.subject.empty() ? "" : ": ", doubt.text);
  if (plan.lossless)
    out +=
        "  no write that was acknowledged is missing: no volume's primary can have gone on "
        "alone\n";
  return out;
}

std::set<std::string> needed(const api::Takeover& plan, const PromoteWanted& wanted) {
  std::set<std::string> out;
  for (const auto& doubt : plan.doubts)
    if (!api::accepts(wanted.force, doubt.force)) out.insert(doubt.force);
  return out;
}

/// Whether whoever sits there wants it, with all that was said.
bool asked(const PromoteWanted& wanted) {
  fmt::print("To promote it, with all of that, type the group's name: ");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
  return line == wanted.group;
}

/// The witness may have to be asked first, and has its say.
Result<api::Takeover> begin_promotion(const std::string& socket, const PromoteWanted& wanted) {
  for (;;) {
    auto told = ask_takeover(socket, request_for(wanted, false));
    if (!told || told->state != "asking") return told;
    std::this_thread::sleep_for(look_interval);
  }
}

std::string worst_error(const api::Group& group) {
  for (const auto& condition : group.conditions)
    if (api::weight(condition) == 0) return fmt::format("{}: {}", condition.code, condition.reason);
  return {};
}

/// Until the copies are handed over. It goes on without this, too.
Result<api::Takeover> wait_until_promoted(const Options& options, const std::string& socket,
                                          const PromoteWanted& wanted) {
  int in_error = 0;
  for (int look = 1;; ++look) {
    const auto report = ask_status(socket);
    if (!report)
      return Error{report.error().code,
                   fmt::format("{}; 'dmcascade promote {}' says how far it is when it is back",
                               report.error().text, wanted.group)};
    const api::Group* group = find_group(*report, wanted.group);
    if (group != nullptr && group->takeover && group->takeover->state == "promoted")
      return *group->takeover;
    const std::string error = group == nullptr ? "" : worst_error(*group);
    in_error = error.empty() ? 0 : in_error + 1;
    if (in_error == looks_in_error)
      return Error{Errc::io,
                   fmt::format("stands: {}; it goes on by itself once that is mended", error)};
    if (look % looks_between_lines == 0 && !options.json && group != nullptr && group->takeover)
      fmt::print("{} left\n", plural(group->takeover->left_writes, "write"));
    std::this_thread::sleep_for(look_interval);
  }
}

int show(const Options& options, const api::Takeover& takeover) {
  if (options.json)
    fmt::print("{}\n", api::to_json(takeover));
  else if (takeover.state == "promoted")
    fmt::print("group {} is promoted on {}: generation {}, as of write {}{}; use\n{}",
               takeover.group, takeover.node, takeover.generation, takeover.through_seq,
               takeover.beyond_writes == 0
                   ? ""
                   : fmt::format(" ({} behind it stay out)", takeover.beyond_writes),
               copy_lines(takeover));
  else
    fmt::print("{}", describe(takeover));
  return exit_ok;
}

int promote(const Options& options, PromoteWanted wanted) {
  int code = 0;
  const auto socket = find_socket(options, {wanted.group}, code);
  if (!socket) return code;
  const auto failed = [&](const Error& error) {
    return complain(options, {error.code, fmt::format("{}: {}", wanted.group, error.text)});
  };
  const auto plan = ask_takeover(*socket, request_for(wanted, true));
  if (!plan) return failed(plan.error());
  if (wanted.dry_run || plan->state == "promoted") return show(options, *plan);
  if (plan->state == "follows" && !wanted.yes) {
    if (!options.json) show(options, *plan);
    const auto words = needed(*plan, wanted);
    if (options.json || ::isatty(STDIN_FILENO) != 1)
      return failed(
          {Errc::refused, fmt::format("nobody can be asked here; say --yes{}{}",
                                      words.empty() ? "" : " --force=", fmt::join(words, ","))});
    if (!asked(wanted)) return failed({Errc::refused, "nothing was done"});
    wanted.force.insert(wanted.force.end(), words.begin(), words.end());
  }
  if (const auto told = begin_promotion(*socket, wanted); !told) return failed(told.error());
  const auto done = wait_until_promoted(options, *socket, wanted);
  return done ? show(options, *done) : failed(done.error());
}

}  // namespace

void add_promote(CLI::App& app, const Options& options, Action& action) {
  auto wanted = std::make_shared<PromoteWanted>();
  CLI::App* command = app.add_subcommand(
      "promote", "Hand this node's copies of a group over, to go on with them here");
  command->add_option("GROUP", wanted->group, "A group of the configuration")->required();
  command->add_flag("--newest", wanted->newest,
                    "Every volume's newest write, though no image of one moment");
  add_moment(*command, "--at", wanted->at_ns, "As of then, by when this node took writes in");
  command->add_flag("-n,--dry-run", wanted->dry_run, "Only say what would be missing");
  command->add_flag("-y,--yes", wanted->yes, "Do not ask");
  command
      ->add_option("--force", wanted->force,
                   "What is accepted: may-lack-writes, still-connected, not-consistent, "
                   "not-granted")
      ->delimiter(',')
      ->check(
          CLI::IsMember({"may-lack-writes", "still-connected", "not-consistent", "not-granted"}));
  command->final_callback(
      [&, wanted] { action = [&options, wanted] { return promote(options, *wanted); }; });
}

}  // namespace cascade
