// SPDX-License-Identifier: GPL-2.0-or-later
//
// status: one screen. What is well is short; what is not says why.
#include "lib/config/units.hpp"
#include "lib/netlink/module_client.hpp"
#include "tools/client.hpp"
#include "tools/command.hpp"
#include "tools/table.hpp"
#include "tools/verify.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <memory>
#include <thread>

#include <unistd.h>

namespace cascade {
namespace {

struct StatusWanted {
  std::vector<std::string> groups;
  double watch_seconds = 0;
};

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string links_table(const api::Group& group) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& link : group.links)
    rows.push_back({fmt::format("{} {}", link.direction == "upstream" ? "from" : "to", link.peer),
                    link.state, human_bytes(link.sent_bytes), human_bytes(link.received_bytes),
                    or_dash(link.reason)});
  return render_table({"  LINK", "STATE", ">SENT", ">RECEIVED", "REASON"}, rows);
}

std::string unstored(const api::Volume& volume) {
  if (volume.ring) return std::to_string(volume.ring->published - volume.ring->stored);
  if (volume.received_seq && volume.stored_seq)
    return std::to_string(*volume.received_seq - *volume.stored_seq);
  return "-";
}

std::string volumes_table(const api::Group& group) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& volume : group.volumes) {
    const auto last = volume.ring ? std::optional(volume.ring->published) : volume.received_seq;
    rows.push_back({volume.name, volume.role, volume.primary,
                    volume.size_bytes == 0 ? "-" : human_bytes(volume.size_bytes), volume.state,
                    last ? std::to_string(*last) : "-", unstored(volume),
                    volume.out_of_sync_bytes ? human_bytes(*volume.out_of_sync_bytes) : "-",
                    or_dash(volume.generation.substr(0, 8)), or_dash(volume.reason)});
  }
  return render_table({"  VOLUME", "ROLE", "PRIMARY", ">SIZE", "STATE", ">LAST WRITE",
                       ">NOT STORED", ">OUT OF SYNC", "GENERATION", "REASON"},
                      rows);
}

/// When what is out of sync will be copied.
std::string rest(const api::Volume& volume) {
  if (!volume.resync_seconds_left) return "the rest is copied while the hub is there";
  return fmt::format("about {:.0f} s are left", *volume.resync_seconds_left);
}

/// What need not be copied.
std::string same(std::uint64_t bytes) {
  return bytes == 0 ? "" : fmt::format(", {} compared and the same", human_bytes(bytes));
}

/// What is being mended, or stays wrong although everything runs.
std::string differs_lines(const api::Group& group) {
  std::string out;
  for (const auto& volume : group.volumes) {
    if (!volume.differs.empty())
      out += fmt::format("  {}: primary and hub may differ: {}\n", volume.name, volume.differs);
    if (volume.out_of_sync_bytes.value_or(0) > 0)
      out += fmt::format("  {}: {} of {} out of sync, {} copied{}; {}\n", volume.name,
                         human_bytes(*volume.out_of_sync_bytes), human_bytes(volume.size_bytes),
                         human_bytes(volume.resynced_bytes.value_or(0)),
                         same(volume.same_bytes.value_or(0)), rest(volume));
    if (volume.verify) out += verify_lines(volume, "  ");
  }
  return out;
}

/// What compression has spared the link.
std::string compression_line(const api::Group& group) {
  for (const auto& link : group.links)
    if (link.direction == "downstream" && link.compress != "none" && !link.compress.empty())
      return fmt::format("    {} to {}: {} sent as {}\n", link.compress, link.peer,
                         human_bytes(link.unpacked_bytes), human_bytes(link.sent_bytes));
  return {};
}

std::string journal_lines(const api::Group& group) {
  std::string out;
  if (const auto& j = group.journal) {
    out +=
        fmt::format("  journal {}: {}, {} of {} used, write {} received, {} stored, {} applied\n",
                    j->path, j->state, human_bytes(j->used_bytes), human_bytes(j->size_bytes),
                    j->received_seq, j->stored_seq, j->applied_seq);
    if (j->apply_delay_seconds)
      out += fmt::format("    its copies are as of {}, {:.0f} s behind on purpose\n",
                         j->applied_time.empty() ? "before the first write" : j->applied_time,
                         *j->apply_delay_seconds);
    if (!j->reason.empty()) out += fmt::format("    {}\n", j->reason);
  }
  if (const auto& r = group.remote) {
    out += fmt::format("  remote: {:.1f} s behind, {} writes, {}{}\n", r->lag_seconds,
                       r->backlog_writes, human_bytes(r->backlog_bytes),
                       r->ship_rate_bytes
                           ? fmt::format(", limited to {}/s", human_bytes(*r->ship_rate_bytes))
                           : "");
    if (r->applied_seq)
      out += fmt::format("    its copies are at write {}, its journal has {} of {} in use{}\n",
                         *r->applied_seq, human_bytes(r->journal_used_bytes.value_or(0)),
                         human_bytes(r->journal_size_bytes.value_or(0)),
                         r->bracket ? ", a bracket is open there" : "");
    out += compression_line(group);
    if (!r->behind_since.empty())
      out += fmt::format("    more than the journal holds, since {}: {} to be copied{}; {}\n",
                         r->behind_since, human_bytes(r->out_of_sync_bytes), same(r->same_bytes),
                         r->seconds_left ? fmt::format("about {:.0f} s are left", *r->seconds_left)
                                         : "that goes on while the remote is there");
  }
  return out;
}

std::string bracket_lines(const api::Group& group) {
  if (!group.bracket) return {};
  const api::Bracket& b = *group.bracket;
  std::string out =
      fmt::format("  bracket open at write {}: {} writes behind it become visible as one\n",
                  b.applied_through, b.held_writes);
  if (b.catching_up) out += "    what this node missed is being copied from the hub\n";
  if (b.past == "undo")
    out += fmt::format("    the copies had to go past it; what they held is kept on {}, {} of {}\n",
                       b.undo_path, human_bytes(b.undo_used_bytes), human_bytes(b.undo_size_bytes));
  if (b.past == "gone")
    out += "    the copies went past it for good: no consistent image until it closes\n";
  for (const auto& waiting : b.volumes)
    out += fmt::format("    {} ({}, since {}): {}\n", waiting.volume, waiting.why, waiting.since,
                       waiting.waits_for);
  return out;
}

/// What is wrong comes first, the worst of it before the rest.
std::string condition_lines(const std::vector<api::Condition>& conditions) {
  std::string out;
  for (const auto& c : conditions) {
    out += fmt::format("  {} {}{}{} since {}: {}\n", c.severity, c.code,
                       c.subject.empty() ? "" : " ", c.subject, c.since, c.reason);
    if (!c.action.empty()) out += fmt::format("    to do: {}\n", c.action);
  }
  return out;
}

std::string render(const api::StatusReport& report, const std::vector<std::string>& groups) {
  std::string out =
      fmt::format("node {}  {}  dm-cascade {}\n", report.node, report.time, report.version);
  out += condition_lines(report.conditions);
  for (const auto& group : report.groups) {
    if (!groups.empty() && std::find(groups.begin(), groups.end(), group.name) == groups.end())
      continue;
    out += fmt::format(
        "\ngroup {}  this node: {}  send-order {}  hub-ack {}  ship {}  remote-ack {}\n",
        group.name, fmt::join(group.roles, ", "), group.send_order, group.hub_ack, group.ship,
        group.remote_ack);
    out += condition_lines(group.conditions) + volumes_table(group) + differs_lines(group) +
           links_table(group) + journal_lines(group) + bracket_lines(group);
  }
  return out;
}

/// Without a daemon the module still knows what waits, and people need to see it.
void show_module() {
  auto client = ModuleClient::open();
  if (!client) return;
  auto volumes = client->list();
  if (!volumes) return;
  for (const ModuleVolume& v : *volumes)
    fmt::print("volume {}: {} writes wait, {} held back, {} of {} of the ring used\n", v.name,
               v.waiting, v.deferred, human_bytes(v.ring_used), human_bytes(v.ring_bytes));
}

int show(const Options& options, const std::string& socket, const StatusWanted& wanted) {
  auto report = ask_status(socket);
  if (!report) {
    if (!options.json) show_module();
    return complain(options, report.error());
  }
  if (options.json)
    fmt::print("{}\n", api::to_json(*report));
  else
    fmt::print("{}", render(*report, wanted.groups));
  return exit_ok;
}

int status(const Options& options, const StatusWanted& wanted) {
  int code = 0;
  const auto socket = find_socket(options, wanted.groups, code);
  if (!socket) return code;
  if (wanted.watch_seconds <= 0) return show(options, *socket, wanted);
  const auto interval = std::chrono::duration<double>(wanted.watch_seconds);
  for (;;) {
    if (!options.json && ::isatty(STDOUT_FILENO) == 1) fmt::print("\033[H\033[2J");
    show(options, *socket, wanted);
    std::fflush(stdout);
    std::this_thread::sleep_for(interval);
  }
}

}  // namespace

void add_status(CLI::App& app, const Options& options, Action& action) {
  auto wanted = std::make_shared<StatusWanted>();
  CLI::App* command = app.add_subcommand("status", "What this node does, and how it is");
  command->add_option("GROUP", wanted->groups, "Only these groups");
  command->add_option("-w,--watch", wanted->watch_seconds, "Again every so many seconds")
      ->expected(0, 1)
      ->default_str("1");
  command->final_callback([&, wanted, command] {
    if (command->count("--watch") > 0 && wanted->watch_seconds <= 0) wanted->watch_seconds = 1;
    action = [&options, wanted] { return status(options, *wanted); };
  });
}

}  // namespace cascade
