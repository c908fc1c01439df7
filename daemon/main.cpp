// SPDX-License-Identifier: GPL-2.0-or-later
//
// dmcascaded: reads the configuration, becomes the node that it names, runs until SIGTERM. SIGHUP
// makes it read the configuration again.
#include "daemon/control/server.hpp"
#include "daemon/group.hpp"
#include "daemon/os/clock.hpp"
#include "daemon/os/process.hpp"
#include "daemon/report/log.hpp"
#include "daemon/site.hpp"

#include "lib/config/advice.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <systemd/sd-daemon.h>
#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>

#include <array>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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
  if (asked.command == api::command_remote_replace)
    return [](GroupNode& node) { return node.replace_remote(); };
  if (asked.command == api::command_drill_begin)
    return [at_ns = asked.at_ns](GroupNode& node) { return node.begin_drill(at_ns); };
  if (asked.command == api::command_drill_end)
    return [](GroupNode& node) { return node.end_drill(); };
  if (asked.command == api::command_drill_go_on)
    return [](GroupNode& node) { return node.go_on_after_drill(); };
  if (asked.command == api::command_verify_begin)
    return [asked](GroupNode& node) {
      const bool sure = api::accepts(asked.force, api::force_primary_is_right);
      return node.begin_verify(asked.volume,
                               {asked.from_bytes, asked.rate_bytes, asked.repair, sure, {}});
    };
  if (asked.command == api::command_swap) return [](GroupNode& node) { return node.swap(); };
  if (asked.command == api::command_verify_end)
    return [volume = asked.volume](GroupNode& node) { return node.end_verify(volume); };
  return nullptr;
}

Error unknown(const std::string& command) {
  const std::array known{
      api::command_status,        api::command_reload,      api::command_bracket_end,
      api::command_bracket_apply, api::command_promote,     api::command_remote_replace,
      api::command_rejoin,        api::command_swap,        api::command_drill_begin,
      api::command_drill_end,     api::command_drill_go_on, api::command_verify_begin,
      api::command_verify_end};
  return Error{Errc::invalid,
               fmt::format("unknown command '{}'; known: {}", command, fmt::join(known, ", "))};
}

/// The configuration and which node of it this is.
struct Loaded {
  Site::ConfigPtr config;
  std::string node;
};
Result<Loaded> load(const Options& options) {
  auto config = load_config(options.config);
  if (!config) return config.error();
  auto node = find_this_node(*config, options.node, os::host_name());
  if (!node) return node.error();
  return Loaded{std::make_shared<const Config>(std::move(*config)), std::move(*node)};
}

void give_advice(const Config& config) {
  for (const std::string& line : advice_on(config))
    report::log(report::Level::warning, "configuration", line);
}

/// What the process does once it runs.
class Daemon {
 public:
  Daemon(asio::io_context& io, const Options& options, const Loaded& loaded)
      : options_(options),
        node_(loaded.node),
        clock_(io.get_executor()),
        site_(io, loaded.config, node_),
        server_(io, clock_, loaded.config->daemon.socket,
                [this](std::string request) { return answer(std::move(request)); }),
        signals_(io.get_executor(), SIGTERM, SIGINT, SIGHUP),
        crew_(io.get_executor()) {
    report::time_from([this] { return clock_.realtime_ns(); });
  }

  Result<void> start() {
    if (auto ready = server_.start(); !ready) return ready;
    site_.start();
    report::log(report::Level::notice, "dmcascaded",
                fmt::format("version {}, node {}", CASCADE_VERSION, node_));
    crew_.add(live());
    return {};
  }

 private:
  Task<> live() {
    sd_notify(0, "READY=1");
    for (;;) {
      auto [ec, signal] = co_await signals_.async_wait(use_tuple);
      if (ec || signal != SIGHUP) break;
      (void)reload(false);
    }
    sd_notify(0, "STOPPING=1");
    report::log(report::Level::notice, "dmcascaded", "stopping");
    co_await server_.stop();
    co_await site_.stop();
  }

  /// A file that is wrong, or in which this node is another one, changes nothing.
  Result<std::vector<std::string>> reload(bool dry_run) {
    const auto loaded = load(options_);
    const auto refused = [](const Error& why) {
      report::log(report::Level::error, "configuration",
                  fmt::format("{}; what was read before goes on", why.text));
      return why;
    };
    if (!loaded) return refused(loaded.error());
    if (loaded->node != node_)
      return refused({Errc::invalid, fmt::format("this is node {}, and {} by the file: restart "
                                                 "dmcascaded to make it that one",
                                                 node_, loaded->node)});
    if (dry_run) return site_.changes(*loaded->config);
    report::log(report::Level::notice, "configuration", fmt::format("{} is read", options_.config));
    give_advice(*loaded->config);
    auto changes = site_.reload(loaded->config);
    for (const std::string& line : changes)
      report::log(report::Level::notice, "configuration", line);
    return changes;
  }

  Task<std::string> answer(std::string request) {
    const auto asked = api::parse_request(request);
    if (!asked) co_return api::error_json(asked.error());
    if (asked->command == api::command_status) co_return api::to_json(co_await site_.status());
    if (asked->command == api::command_reload) co_return api::outcome_json(reload(asked->dry_run));
    if (asked->command == api::command_promote) co_return co_await promote(*asked);
    if (asked->command == api::command_rejoin) co_return co_await rejoin(*asked);
    if (const auto what = order(*asked)) {
      const Result<void> done = co_await site_.tell(asked->group, what);
      co_return done ? api::outcome_json(std::vector<std::string>{})
                     : api::error_json(done.error());
    }
    co_return api::error_json(unknown(asked->command));
  }

  Task<std::string> promote(const api::Request& asked) {
    auto answer = std::make_shared<std::string>();
    const std::function<Result<void>(GroupNode&)> what = [answer, asked](GroupNode& node) {
      const auto how = asked.dry_run ? node.takeover(asked.newest, asked.at_ns)
                                     : node.promote(asked.newest, asked.force, asked.at_ns);
      if (how) *answer = api::to_json(*how);
      return how ? Result<void>{} : how.error();
    };
    const Result<void> done = co_await site_.tell(asked.group, what);
    co_return done ? *answer : api::error_json(done.error());
  }

  Task<std::string> rejoin(const api::Request& asked) {
    auto lines = std::make_shared<api::Done>();
    const std::function<Result<void>(GroupNode&)> what = [lines, asked](GroupNode& node) {
      const auto done = node.rejoin(asked.dry_run, asked.force);
      if (done) *lines = *done;
      return done ? Result<void>{} : done.error();
    };
    const Result<void> done = co_await site_.tell(asked.group, what);
    co_return done ? api::outcome_json(*lines) : api::error_json(done.error());
  }

  const Options& options_;
  std::string node_;
  os::SystemClock clock_;
  Site site_;
  control::Server server_;
  asio::basic_signal_set<Executor> signals_;
  Crew crew_;
};

int run(const Options& options, const Loaded& loaded) {
  std::signal(SIGPIPE, SIG_IGN);
  for (const std::string& line : os::harden_process())
    report::log(report::Level::warning, "dmcascaded", line);
  give_advice(*loaded.config);
  asio::io_context io{1};
  Daemon daemon(io, options, loaded);
  if (auto started = daemon.start(); !started) return complain(started.error(), exit_failed);
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

  const auto loaded = load(options);
  if (!loaded) return complain(loaded.error(), exit_config);
  return run(options, *loaded);
}

}  // namespace
}  // namespace cascade

int main(int argc, char** argv) { return cascade::main(argc, argv); }
