// SPDX-License-Identifier: GPL-2.0-or-later
//
// The operator's ways out of an open bracket: end, when a group waits for a volume that does not
// come back; apply, when a journal can't hold it.
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <memory>

namespace cascade {
namespace {

struct BracketWanted {
  std::string group;
  std::string volume;
};

/// Sends the command, and says `done` if it was.
int order(const Options& options, std::string_view command, const BracketWanted& wanted,
          const std::string& done) {
  int code = 0;
  const auto socket = find_socket(options, {wanted.group}, code);
  if (!socket) return code;
  const auto outcome = tell(*socket, {std::string(command), wanted.group, wanted.volume});
  if (!outcome) {
    const std::string subject =
        wanted.volume.empty() ? wanted.group : fmt::format("{}/{}", wanted.group, wanted.volume);
    return complain(options,
                    {outcome.error().code, fmt::format("{}: {}", subject, outcome.error().text)});
  }
  fmt::print("{}\n", done);
  return exit_ok;
}

int end_bracket(const Options& options, const BracketWanted& wanted) {
  return order(options, api::command_bracket_end, wanted,
               fmt::format("{} goes on without {}, whose copies stay behind until it comes back",
                           wanted.group, wanted.volume));
}

int apply_bracket(const Options& options, const BracketWanted& wanted) {
  return order(options, api::command_bracket_apply, wanted,
               fmt::format("the copies of {} here go past the bracket: they are no consistent "
                           "image until it closes",
                           wanted.group));
}

}  // namespace

void add_bracket(CLI::App& app, const Options& options, Action& action) {
  CLI::App* bracket = app.add_subcommand("bracket", "What holds a group's copies; see status");
  bracket->require_subcommand(1);
  auto wanted = std::make_shared<BracketWanted>();
  CLI::App* end = bracket->add_subcommand("end", "On the hub: let a group go on without a volume");
  end->add_option("GROUP", wanted->group, "A group of the configuration")->required();
  end->add_option("--without", wanted->volume, "The volume that is not waited for any more")
      ->required();
  end->final_callback(
      [&, wanted] { action = [&options, wanted] { return end_bracket(options, *wanted); }; });
  CLI::App* apply = bracket->add_subcommand(
      "apply", "Let this node's copies go past the bracket, not consistent until it closes");
  apply->add_option("GROUP", wanted->group, "A group of the configuration")->required();
  apply->final_callback(
      [&, wanted] { action = [&options, wanted] { return apply_bracket(options, *wanted); }; });
}

}  // namespace cascade
