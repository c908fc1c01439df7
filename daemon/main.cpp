// SPDX-License-Identifier: GPL-2.0-or-later
//
// dmcascaded: reads the configuration, becomes the node that it names, runs until SIGTERM.
#include "daemon/control/server.hpp"
#include "daemon/group.hpp"
#include "daemon/os/clock.hpp"
#include "daemon/os/process.hpp"
#include "daemon/report/log.hpp"
#include "daemon/site.hpp"

#include "lib/config/advice.hpp"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>
#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <cstdio>
#include <functional>

namespace cascade {
namespace {

constexpr int exit_failed = 1;
constexpr int exit_config = 8;

struct Options {
  std::string config = default_config_path;
  std::optional<std::string> node;
};

int complain(const Error& error, int code) {
  fmt::print(stderr, "dmcascaded: {}\n", error.text);
  return code;
}

/// What a command does with a group; nothing if there is none of that name.
std::function<Result<void>(GroupNode&)> order(const api::Request& asked) {
  if (asked.command == api::command_bracket_end)
    return [volume = asked.volume](GroupNode& node) { return node.end_bracket(volume); };
  if (asked.command == api::command_bracket_apply)
    return [](GroupNode& node) { return node.apply_bracket(); };
  return nullptr;
}

Task<std::string> answer(Site& site, std::string request) {
  const auto asked = api::parse_request(request);
  if (!asked) co_return api::error_json(asked.error());
  if (asked->command == api::command_status) co_return api::to_json(co_await site.status());
  if (const auto what = order(*asked)) {
    const Result<void> outcome = co_await site.tell(asked->group, what);
    co_return api::outcome_json(outcome);
  }
  co_return api::error_json(Error{
      Errc::invalid,
      fmt::format("unknown command '{}'; known: {}, {}, {}", asked->command, api::command_status,
                  api::command_bracket_end, api::command_bracket_apply)});
}

Task<> live(asio::io_context& io, Site& site, control::Server& server) {
  asio::basic_signal_set<Executor> signals(io.get_executor(), SIGTERM, SIGINT);
  sd_notify(0, "READY=1");
  co_await signals.async_wait(use_tuple);
  sd_notify(0, "STOPPING=1");
  report::log(report::Level::notice, "dmcascaded", "stopping");
  co_await server.stop();
  co_await site.stop();
}

int run(const Config& config, const std::string& node) {
  std::signal(SIGPIPE, SIG_IGN);
  for (const std::string& line : os::harden_process())
    report::log(report::Level::warning, "dmcascaded", line);
  for (const std::string& line : advice_on(config))
    report::log(report::Level::warning, "configuration", line);
  asio::io_context io{1};
  os::SystemClock clock(io.get_executor());
  report::time_from([&clock] { return clock.realtime_ns(); });
  Site site(io, config, node);
  control::Server server(io, clock, config.daemon.socket,
                         [&site](std::string request) { return answer(site, std::move(request)); });
  if (auto ready = server.start(); !ready) return complain(ready.error(), exit_failed);
  site.start();
  report::log(report::Level::notice, "dmcascaded",
              fmt::format("version {}, node {}", CASCADE_VERSION, node));
  Crew crew(io.get_executor());
  crew.add(live(io, site, server));
  io.run();
  return 0;
}

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Replicates the volumes of this node; see dmcascaded(8)"};
  app.add_option("--config", options.config, "Configuration file, the same on all nodes")
      ->capture_default_str();
  app.add_option("--node", options.node, "Which node this is, instead of asking the host name");
  app.set_version_flag("--version", CASCADE_VERSION);
  CLI11_PARSE(app, argc, argv);

  auto config = load_config(options.config);
  if (!config) return complain(config.error(), exit_config);
  auto node = find_this_node(*config, options.node, os::host_name());
  if (!node) return complain(node.error(), exit_config);
  return run(*config, *node);
}

}  // namespace
}  // namespace cascade

int main(int argc, char** argv) { return cascade::main(argc, argv); }
