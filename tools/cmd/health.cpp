// SPDX-License-Identifier: GPL-2.0-or-later
//
// health: whether anything is wrong on this node, for people and for what watches it. The exit
// codes are those of monitoring plugins (https://www.monitoring-plugins.org/doc/guidelines.html).
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace cascade {
namespace {

enum HealthCode { health_ok = 0, health_warning = 1, health_error = 2, health_unknown = 3 };

int code_of(const api::Health& health) {
  return health.state == "error"     ? health_error
         : health.state == "warning" ? health_warning
                                     : health_ok;
}

std::string counted(const api::Health& health, const char* severity) {
  const auto n = std::count_if(health.findings.begin(), health.findings.end(),
                               [&](const auto& f) { return f.condition.severity == severity; });
  return n == 0 ? "" : fmt::format(", {} {}{}", n, severity, n == 1 ? "" : "s");
}

/// The first line says it all: some monitors show no other.
std::string render(const api::Health& health) {
  std::string out = fmt::format("{}: node {}", health.state, health.node);
  if (health.state == "ok") out += ", nothing is wrong";
  out += counted(health, "error") + counted(health, "warning") + "\n";
  for (const auto& [group, c] : health.findings) {
    out += fmt::format("{} {}{}{}{}{} since {}: {}\n", c.severity, c.code, group.empty() ? "" : " ",
                       group, c.subject.empty() ? "" : " ", c.subject, c.since, c.reason);
    if (!c.impact.empty()) out += fmt::format("  impact: {}\n", c.impact);
    if (!c.action.empty()) out += fmt::format("  to do: {}\n", c.action);
  }
  return out;
}

int health(const Options& options, const std::vector<std::string>& groups) {
  int code = 0;
  const auto socket = find_socket(options, groups, code);
  if (!socket) return health_unknown;
  const auto report = ask_status(*socket);
  if (!report) return complain(options, report.error(), health_unknown);
  if (auto known = need_groups(*report, groups); !known)
    return complain(options, known.error(), health_unknown);
  const api::Health health = api::health_of(*report, groups);
  fmt::print("{}{}", options.json ? api::to_json(health) : render(health),
             options.json ? "\n" : "");
  return code_of(health);
}

}  // namespace

void add_health(CLI::App& app, const Options& options, Action& action) {
  auto groups = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand(
      "health", "Whether anything is wrong here: exit 0 no, 1 warning, 2 error, 3 not known");
  command->add_option("GROUP", *groups, "Only these groups, and the node itself");
  command->final_callback([&options, &action, groups] {
    action = [&options, groups] { return health(options, *groups); };
  });
}

}  // namespace cascade
