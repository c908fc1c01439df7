// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the commands of dmcascade share: global options, exit codes, how an error is told. Each
// command is one file in cmd/ that adds itself to the parser.
#pragma once

#include "lib/base/result.hpp"
#include "lib/config/config.hpp"

#include <CLI/CLI.hpp>

#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace cascade {

enum ExitCode {
  exit_ok = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_unreachable = 3,
  exit_not_found = 4,
  exit_refused = 5,
  exit_permission = 7,
  exit_config = 8,
};

struct Options {
  std::string config = default_config_path;
  std::optional<std::string> node;
  std::optional<std::string> socket;
  bool json = false;
};

/// The command to run once the command line is parsed; returns the exit code.
using Action = std::function<int()>;

/// Says what is wrong, as a line or as JSON, and returns the exit code for it.
int complain(const Options& options, const Error& error, std::optional<int> code = {});

/// CLOCK_REALTIME.
std::uint64_t now_ns();

/// For options like --at: a moment that is over (parse_moment()), in CLOCK_REALTIME nanoseconds.
CLI::Option* add_moment(CLI::App& command, const std::string& name, std::uint64_t& at_ns,
                        const std::string& description);

/// Of this machine.
std::string host_name();

/// Errc::refused without it.
Result<void> need_root();

/// Configuration and this node's name; complains and gives the exit code otherwise.
struct Loaded {
  Config config;
  std::string node;
};
std::optional<Loaded> load(const Options& options, int& code);

/// Where the daemon of this node answers; complains and gives the exit code otherwise. Checks that
/// these groups are configured, unless the socket was given by hand.
std::optional<std::string> find_socket(const Options& options,
                                       const std::vector<std::string>& groups, int& code);

/// A volume and its group, by the volume's name; Errc::not_found.
using GroupVolume = std::pair<const GroupConfig*, const VolumeConfig*>;
Result<GroupVolume> find_volume(const Config& config, const std::string& name);
/// The same, if this node is its primary; Errc::refused.
Result<GroupVolume> find_own_volume(const Loaded& loaded, const std::string& name);

void add_status(CLI::App& app, const Options& options, Action& action);
void add_health(CLI::App& app, const Options& options, Action& action);
void add_latency(CLI::App& app, const Options& options, Action& action);
void add_create(CLI::App& app, const Options& options, Action& action);
void add_alone(CLI::App& app, const Options& options, Action& action);
void add_apply(CLI::App& app, const Options& options, Action& action);
void add_reload(CLI::App& app, const Options& options, Action& action);
void add_remove(CLI::App& app, const Options& options, Action& action);
void add_table(CLI::App& app, const Options& options, Action& action);
void add_verify(CLI::App& app, const Options& options, Action& action);
void add_journal(CLI::App& app, const Options& options, Action& action);
void add_metadata(CLI::App& app, const Options& options, Action& action);
void add_resize(CLI::App& app, const Options& options, Action& action);
void add_resync(CLI::App& app, const Options& options, Action& action);
void add_bracket(CLI::App& app, const Options& options, Action& action);
void add_rejoin(CLI::App& app, const Options& options, Action& action);
void add_remote(CLI::App& app, const Options& options, Action& action);
void add_drill(CLI::App& app, const Options& options, Action& action);
void add_swap(CLI::App& app, const Options& options, Action& action);
void add_promote(CLI::App& app, const Options& options, Action& action);
void add_config(CLI::App& app, const Options& options, Action& action);

}  // namespace cascade
