// SPDX-License-Identifier: GPL-2.0-or-later
//
// reload: the daemon reads its configuration again.
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

namespace cascade {
namespace {

int reload(const Options& options) {
  int code = exit_ok;
  const auto socket = find_socket(options, {}, code);
  if (!socket) return code;
  const auto done = tell(*socket, {std::string(api::command_reload)});
  if (!done)
    return complain(
        options, done.error(),
        done.error().code == Errc::invalid ? std::optional<int>(exit_config) : std::nullopt);
  for (const std::string& line : *done) fmt::print("{}\n", line);
  if (done->empty()) fmt::print("nothing is different\n");
  return exit_ok;
}

}  // namespace

void add_reload(CLI::App& app, const Options& options, Action& action) {
  CLI::App* command = app.add_subcommand(
      "reload", "Let the daemon read the configuration again: what has not changed goes on");
  command->final_callback([&] { action = [&options] { return reload(options); }; });
}

}  // namespace cascade
