// SPDX-License-Identifier: GPL-2.0-or-later
//
// config check: whether the configuration file is right, before a daemon reads it, and what of it
// is probably not meant so.
#include "tools/command.hpp"

#include "lib/config/advice.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <vector>

namespace cascade {
namespace {

constexpr const char* schema = "dmcascade.config-check/1";

void say(const Options& options, const Config& config, const std::vector<std::string>& warnings) {
  namespace json = boost::json;
  if (options.json) {
    fmt::print("{}\n", json::serialize(json::value{{"schema", schema},
                                                   {"file", options.config},
                                                   {"nodes", config.nodes.size()},
                                                   {"groups", config.groups.size()},
                                                   {"warnings", json::value_from(warnings)}}));
    return;
  }
  fmt::print("{}: right; {} nodes, {} groups\n", options.config, config.nodes.size(),
             config.groups.size());
  for (const std::string& line : warnings) fmt::print("warning: {}\n", line);
}

int check(const Options& options) {
  const auto config = load_config(options.config);
  if (!config) return complain(options, config.error(), exit_config);
  std::vector<std::string> warnings = advice_on(*config);
  // On a machine that is none of the nodes there is no more to be seen.
  const auto node = find_this_node(*config, options.node, host_name());
  if (!node && options.node) return complain(options, node.error(), exit_config);
  if (node)
    for (std::string& line : advice_here(*config, *node)) warnings.push_back(std::move(line));
  say(options, *config, warnings);
  return exit_ok;
}

}  // namespace

void add_config(CLI::App& app, const Options& options, Action& action) {
  CLI::App* config = app.add_subcommand("config", "The configuration file");
  config->require_subcommand(1);
  CLI::App* command = config->add_subcommand("check", "Read it, and say what is wrong with it");
  command->final_callback([&] { action = [&options] { return check(options); }; });
}

}  // namespace cascade
