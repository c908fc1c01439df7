// SPDX-License-Identifier: GPL-2.0-or-later
//
// resync: how far the copying of what is out of sync is, and holding it or slowing it down.
#include "lib/config/units.hpp"
#include "lib/dm/device.hpp"
#include "lib/netlink/module_client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <memory>

namespace cascade {
namespace {

struct Wanted {
  std::string volume;
  bool pause = false;
  bool resume = false;
  std::optional<std::uint32_t> rate_kib;  // a second; 0: no limit
};

const char* word(cascade_resync_state state) {
  switch (state) {
    case CASCADE_RESYNC_WAITING:
      return "waits for the hub";
    case CASCADE_RESYNC_PAUSED:
      return "paused";
    case CASCADE_RESYNC_RUNNING:
      return "running";
    default:
      return "in sync";
  }
}

Result<void> tell_module(const Wanted& wanted) {
  std::vector<std::string> messages;
  if (wanted.rate_kib) messages.push_back(fmt::format("resync rate {}", *wanted.rate_kib));
  if (wanted.pause) messages.emplace_back("resync pause");
  if (wanted.resume) messages.emplace_back("resync resume");
  for (const std::string& text : messages)
    if (auto told = dm::message(wanted.volume, text); !told) return told;
  return {};
}

int resync(const Options& options, const Wanted& wanted) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  const auto found = find_own_volume(*loaded, wanted.volume);
  if (!found) return complain(options, found.error());
  if (auto told = tell_module(wanted); !told) return complain(options, told.error());
  auto module = ModuleClient::open();
  if (!module) return complain(options, module.error());
  const auto now = module->get(found->second->uuid);
  if (!now) return complain(options, now.error());
  fmt::print("{}: {}, {} of {} out of sync, {} copied since its ring began\n", wanted.volume,
             word(now->resync), human_bytes(now->out_of_sync), human_bytes(now->sectors * 512),
             human_bytes(now->resynced));
  return exit_ok;
}

}  // namespace

void add_resync(CLI::App& app, const Options& options, Action& action) {
  auto wanted = std::make_shared<Wanted>();
  CLI::App* command = app.add_subcommand(
      "resync",
      "On a primary: how far the copying of what is out of sync is; hold it, slow it down");
  command->add_option("VOLUME", wanted->volume, "A volume of the configuration")->required();
  auto* pause = command->add_flag("--pause", wanted->pause, "Copy nothing until --resume");
  command->add_flag("--resume", wanted->resume, "Go on")->excludes(pause);
  command->add_option("--rate", wanted->rate_kib,
                      "KiB a second at the most; 0: as fast as the volume's own writes allow");
  command->final_callback(
      [&, wanted] { action = [&options, wanted] { return resync(options, *wanted); }; });
}

}  // namespace cascade
