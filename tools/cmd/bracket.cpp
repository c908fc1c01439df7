// SPDX-License-Identifier: GPL-2.0-or-later
//
// bracket end: the operator's way out when a group waits for a volume that does not come back.
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <memory>

namespace cascade {
namespace {

struct Wanted {
  std::string group;
  std::string volume;
};

int end_bracket(const Options& options, const Wanted& wanted) {
  auto config = load_config(options.config);
  if (!config) return complain(options, config.error(), exit_config);
  if (config->group(wanted.group) == nullptr)
    return complain(options,
                    Error{Errc::not_found, fmt::format("{}: no such group", wanted.group)});
  auto done = tell(options.socket.value_or(config->daemon.socket),
                   {std::string(api::command_bracket_end), wanted.group, wanted.volume});
  if (!done) {
    const Error& why = done.error();
    return complain(options,
                    {why.code, fmt::format("{}/{}: {}", wanted.group, wanted.volume, why.text)});
  }
  fmt::print("{} goes on without {}, whose copies stay behind until it comes back\n", wanted.group,
             wanted.volume);
  return exit_ok;
}

}  // namespace

void add_bracket(CLI::App& app, const Options& options, Action& action) {
  CLI::App* bracket = app.add_subcommand("bracket", "What holds a group's copies; see status");
  bracket->require_subcommand(1);
  auto wanted = std::make_shared<Wanted>();
  CLI::App* end = bracket->add_subcommand("end", "On the hub: let a group go on without a volume");
  end->add_option("GROUP", wanted->group, "A group of the configuration")->required();
  end->add_option("--without", wanted->volume, "The volume that is not waited for any more")
      ->required();
  end->final_callback(
      [&, wanted] { action = [&options, wanted] { return end_bracket(options, *wanted); }; });
}

}  // namespace cascade
