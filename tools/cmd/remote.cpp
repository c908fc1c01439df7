// SPDX-License-Identifier: GPL-2.0-or-later
//
// remote: what the hub is told of its remote.
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace cascade {
namespace {

constexpr std::chrono::seconds copies_wait{30};

/// What the hub says of its remote; nothing: it does not answer, or has none.
std::optional<api::RemoteLag> remote_of(const std::string& socket, const std::string& name) {
  const auto report = ask_status(socket);
  const api::Group* group = report ? find_group(*report, name) : nullptr;
  return group == nullptr ? std::nullopt : group->remote;
}

/// Until a crash of the hub can't make it forget that.
int replace_remote(const Options& options, const std::string& group) {
  int code = 0;
  const auto socket = find_socket(options, {group}, code);
  if (!socket) return code;
  const auto failed = [&](const Error& error) {
    return complain(options, {error.code, fmt::format("{}: {}", group, error.text)});
  };
  const auto told = tell(*socket, {std::string(api::command_remote_replace), group});
  if (!told) return failed(told.error());
  std::optional<api::RemoteLag> remote;
  const bool known = look_until(copies_wait, [&] {
    remote = remote_of(*socket, group);
    return !remote || !remote->replacing;
  });
  if (!known)
    return failed(
        {Errc::refused,
         "the hub's own copies stand still, by a bracket or a failure: see status; it is done "
         "once they go on, if the daemon is not restarted before"});
  if (!remote)
    return failed({Errc::closed, "the hub does not answer any more; say it again when it does"});
  fmt::print(
      "{}: everything is compared with the remote that comes next; status shows how much is left\n",
      group);
  return exit_ok;
}

}  // namespace

void add_remote(CLI::App& app, const Options& options, Action& action) {
  CLI::App* remote = app.add_subcommand("remote", "What the hub is told of its remote");
  remote->require_subcommand(1);
  auto group = std::make_shared<std::string>();
  CLI::App* replace = remote->add_subcommand(
      "replace", "On the hub: compare everything with the remote, and copy what differs");
  replace->add_option("GROUP", *group, "A group of the configuration")->required();
  replace->final_callback(
      [&, group] { action = [&options, group] { return replace_remote(options, *group); }; });
}

}  // namespace cascade
