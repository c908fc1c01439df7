// SPDX-License-Identifier: GPL-2.0-or-later
//
// dmcascade: the command line. Parses, calls one command, returns its exit code.
#include "tools/command.hpp"

#include "lib/api/api.hpp"
#include "lib/config/units.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include <unistd.h>

namespace cascade {
namespace {

int code_for(Errc code) {
  switch (code) {
    case Errc::closed:
      return exit_unreachable;
    case Errc::not_found:
      return exit_not_found;
    case Errc::refused:
    case Errc::foreign:
      return exit_refused;
    default:
      return exit_failed;
  }
}

}  // namespace

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch() /
                                    std::chrono::nanoseconds(1));
}

CLI::Option* add_moment(CLI::App& command, const std::string& name, std::uint64_t& at_ns,
                        const std::string& description) {
  const auto read = [&at_ns](const std::string& text) {
    const auto moment = parse_moment(text, now_ns());
    if (!moment)
      throw CLI::ValidationError(
          text,
          "write a moment like \"15min ago\", \"2026-11-29 14:02:11\" by the local time, or "
          "\"2026-11-29T14:02:11Z\"");
    at_ns = *moment;
  };
  return command.add_option_function<std::string>(name, read, description)->type_name("TIME");
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

int complain(const Options& options, const Error& error, std::optional<int> code) {
  if (options.json)
    fmt::print("{}\n", api::error_json(error));
  else
    fmt::print(stderr, "dmcascade: {}\n", error.text);
  return code.value_or(code_for(error.code));
}

Result<void> need_root() {
  if (::geteuid() == 0) return {};
  return Error{Errc::refused, "this needs root"};
}

std::optional<Loaded> load(const Options& options, int& code) {
  auto config = load_config(options.config);
  if (!config) {
    code = complain(options, config.error(), exit_config);
    return std::nullopt;
  }
  auto node = find_this_node(*config, options.node, host_name());
  if (!node) {
    code = complain(options, node.error(), exit_config);
    return std::nullopt;
  }
  return Loaded{std::move(*config), std::move(*node)};
}

std::optional<std::string> find_socket(const Options& options,
                                       const std::vector<std::string>& groups, int& code) {
  if (options.socket) return options.socket;
  auto config = load_config(options.config);
  if (!config) {
    code = complain(options, config.error(), exit_config);
    return std::nullopt;
  }
  for (const std::string& name : groups)
    if (config->group(name) == nullptr) {
      code = complain(options, Error{Errc::not_found, fmt::format("{}: no such group", name)});
      return std::nullopt;
    }
  return config->daemon.socket;
}

Result<GroupVolume> find_volume(const Config& config, const std::string& name) {
  for (const GroupConfig& group : config.groups)
    if (const VolumeConfig* volume = group.volume(name)) return GroupVolume(&group, volume);
  return Error{Errc::not_found, fmt::format("{}: no such volume in the configuration", name)};
}

Result<GroupVolume> find_own_volume(const Loaded& loaded, const std::string& name) {
  auto found = find_volume(loaded.config, name);
  if (!found || found->second->primary == loaded.node) return found;
  return Error{Errc::refused, fmt::format("{}: its primary is {}, this node is {}; run this there",
                                          name, found->second->primary, loaded.node)};
}

namespace {

int main(int argc, char** argv) {
  Options options;
  Action action;
  CLI::App app{"Three-data-centre replication for Linux block devices; see dmcascade(8)"};
  app.add_option("--config", options.config, "Configuration file, the same on all nodes")
      ->capture_default_str();
  app.add_option("--node", options.node, "Which node this is, instead of asking the host name");
  app.add_option("--socket", options.socket, "Control socket of the daemon");
  app.add_flag("--json", options.json, "Results and errors as JSON");
  app.set_version_flag("--version", CASCADE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  add_status(app, options, action);
  add_health(app, options, action);
  add_latency(app, options, action);
  add_create(app, options, action);
  add_alone(app, options, action);
  add_apply(app, options, action);
  add_reload(app, options, action);
  add_remove(app, options, action);
  add_table(app, options, action);
  add_journal(app, options, action);
  add_metadata(app, options, action);
  add_resize(app, options, action);
  add_resync(app, options, action);
  add_verify(app, options, action);
  add_bracket(app, options, action);
  add_promote(app, options, action);
  add_swap(app, options, action);
  add_drill(app, options, action);
  add_rejoin(app, options, action);
  add_remote(app, options, action);
  add_config(app, options, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? exit_ok : exit_usage;
  }
  return action();
}

}  // namespace
}  // namespace cascade

int main(int argc, char** argv) { return cascade::main(argc, argv); }
