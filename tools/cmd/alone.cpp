// SPDX-License-Identifier: GPL-2.0-or-later
//
// alone: the operator's way out when a volume waits for a hub that will not be there soon.
#include "lib/dm/device.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <memory>

namespace cascade {
namespace {

struct AloneWanted {
  std::string volume;
  bool force = false;
};

int go_alone(const Options& options, const AloneWanted& wanted) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  const auto found = find_own_volume(*loaded, wanted.volume);
  if (!found) return complain(options, found.error());
  if (!wanted.force)
    return complain(
        options,
        Error{
            Errc::refused,
            fmt::format("{}: what is written from now on is on this machine alone, and if the hub "
                        "({}) still runs it may show others' writes that depend on it; make "
                        "sure that it does not, then add --force",
                        wanted.volume, found->first->hub)});
  if (auto told = dm::message(wanted.volume, "go_alone"); !told)
    return complain(options,
                    {told.error().code, told.error().text + "; 'dmesg | tail' has the reason"});
  fmt::print("{}: goes on alone, until the hub is back and has what differs\n", wanted.volume);
  return exit_ok;
}

}  // namespace

void add_alone(CLI::App& app, const Options& options, Action& action) {
  auto wanted = std::make_shared<AloneWanted>();
  CLI::App* command = app.add_subcommand(
      "alone", "On a primary: let a volume go on without its hub, whatever its fence level");
  command->add_option("VOLUME", wanted->volume, "A volume of the configuration")->required();
  command->add_flag("--force", wanted->force, "The hub is down, or cut off from all others");
  command->final_callback(
      [&, wanted] { action = [&options, wanted] { return go_alone(options, *wanted); }; });
}

}  // namespace cascade
