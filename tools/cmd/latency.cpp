// SPDX-License-Identifier: GPL-2.0-or-later
//
// latency: how long writes take in each stage of their way through this node.
#include "tools/client.hpp"
#include "tools/command.hpp"
#include "tools/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

namespace cascade {
namespace {

struct LatencyWanted {
  std::vector<std::string> groups;
  double interval_seconds = 0;  // 0: once, since the daemon began
  unsigned count = 0;           // of intervals; 0: without end
};

/// What a stage is, for people; in the order in which a write meets them.
struct Stage {
  const char* name;
  const char* what;
};
constexpr Stage stages[] = {
    {"ring", "from the write until the daemon took it"},
    {"send", "until the system had taken the frame for the hub"},
    {"hub", "from the daemon until the hub's acknowledgement was here"},
    {"write", "from the write until the hub's acknowledgement was here"},
    {"journal", "from its arrival here until it was stable"},
    {"ship", "until the system had taken the frame for the remote"},
    {"remote", "from its place in the journal until the remote's acknowledgement was here"},
};

const char* meaning(const std::string& stage) {
  for (const auto& [name, what] : stages)
    if (stage == name) return what;
  return "";
}

std::string human_us(double us) {
  if (us < 1000) return fmt::format("{:.0f} us", us);
  if (us < 1e6) return fmt::format("{:.1f} ms", us / 1e3);
  return fmt::format("{:.1f} s", us / 1e6);
}

std::string render(const api::Group& group) {
  std::vector<std::vector<std::string>> rows;
  for (const api::Latency& stage : group.latency) {
    std::vector<std::string> row{"  " + stage.stage, std::to_string(stage.count)};
    const auto add = [&](double us) { row.push_back(stage.count == 0 ? "-" : human_us(us)); };
    add(stage.sum_seconds * 1e6 / static_cast<double>(std::max<std::uint64_t>(stage.count, 1)));
    for (const double share : {0.5, 0.9, 0.99, 0.999, 1.0})
      add(static_cast<double>(api::percentile_us(stage, share)));
    row.emplace_back(meaning(stage.stage));
    rows.push_back(std::move(row));
  }
  return fmt::format("group {}\n", group.name) +
         render_table({"  STAGE", ">WRITES", ">MEAN", ">50% BELOW", ">90%", ">99%", ">99.9%",
                       ">ALL", "WHAT"},
                      rows);
}

bool is_wanted(const LatencyWanted& wanted, const api::Group& group) {
  return wanted.groups.empty() ||
         std::find(wanted.groups.begin(), wanted.groups.end(), group.name) != wanted.groups.end();
}

/// The same stage in an earlier report; null: it was not there.
const api::Latency* find(const api::StatusReport& report, const std::string& group,
                         const std::string& stage) {
  for (const api::Group& there : report.groups)
    for (const api::Latency& latency : there.latency)
      if (there.uuid == group && latency.stage == stage) return &latency;
  return nullptr;
}

/// A report with what came since `before` alone.
api::StatusReport since(api::StatusReport report, const api::StatusReport& before) {
  for (api::Group& group : report.groups)
    for (api::Latency& stage : group.latency)
      if (const auto* then = find(before, group.uuid, stage.stage)) stage = stage - *then;
  return report;
}

void show(const Options& options, const LatencyWanted& wanted, api::StatusReport report) {
  std::erase_if(report.groups, [&](const auto& group) { return !is_wanted(wanted, group); });
  if (options.json) return fmt::print("{}\n", api::latency_json(report));
  for (const api::Group& group : report.groups) fmt::print("{}", render(group));
}

int latency(const Options& options, const LatencyWanted& wanted) {
  int code = 0;
  const auto socket = find_socket(options, wanted.groups, code);
  if (!socket) return code;
  auto report = ask_status(*socket);
  if (!report) return complain(options, report.error());
  if (auto known = need_groups(*report, wanted.groups); !known)
    return complain(options, known.error());
  if (wanted.interval_seconds <= 0) {
    show(options, wanted, std::move(*report));
    return exit_ok;
  }
  for (unsigned shown = 0; wanted.count == 0 || shown < wanted.count; ++shown) {
    std::this_thread::sleep_for(std::chrono::duration<double>(wanted.interval_seconds));
    auto now = ask_status(*socket);
    if (!now) return complain(options, now.error());
    show(options, wanted, since(*now, *report));
    std::fflush(stdout);
    report = std::move(now);
  }
  return exit_ok;
}

}  // namespace

void add_latency(CLI::App& app, const Options& options, Action& action) {
  auto wanted = std::make_shared<LatencyWanted>();
  CLI::App* command = app.add_subcommand(
      "latency", "How long writes take in each stage of their way, as seen here");
  command->add_option("GROUP", wanted->groups, "Only these groups");
  command
      ->add_option("-i,--interval", wanted->interval_seconds,
                   "Of the last so many seconds, again and again; without: since the daemon began")
      ->check(CLI::PositiveNumber);
  command->add_option("-c,--count", wanted->count, "So many intervals, then end")
      ->check(CLI::PositiveNumber)
      ->needs("--interval");
  command->final_callback([&options, &action, wanted] {
    action = [&options, wanted] { return latency(options, *wanted); };
  });
}

}  // namespace cascade
