// SPDX-License-Identifier: GPL-2.0-or-later
//
// config check: whether the configuration file is right, before a daemon reads it.
#include "tools/command.hpp"

#include <fmt/format.h>

namespace cascade {

void add_config(CLI::App& app, const Options& options, Action& action) {
  CLI::App* config = app.add_subcommand("config", "The configuration file");
  config->require_subcommand(1);
  CLI::App* check = config->add_subcommand("check", "Read it, and say what is wrong with it");
  check->final_callback([&] {
    action = [&options] {
      auto loaded = load_config(options.config);
      if (!loaded) return complain(options, loaded.error(), exit_config);
      fmt::print("{}: right; {} nodes, {} groups\n", options.config, loaded->nodes.size(),
                 loaded->groups.size());
      return static_cast<int>(exit_ok);
    };
  });
}

}  // namespace cascade
