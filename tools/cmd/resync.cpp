// SPDX-License-Identifier: GPL-2.0-or-later
//
// resync: how far the copying of what is out of sync is, holding it or slowing it down, and
// beginning with everything.
#include "lib/config/units.hpp"
#include "lib/dm/device.hpp"
#include "lib/netlink/module_client.hpp"
#include "tools/area.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <memory>

namespace cascade {
namespace {

struct ResyncWanted {
  std::string volume;
  bool pause = false;
  bool resume = false;
  std::optional<std::uint32_t> rate_kib;  // a second; 0: no limit
  std::string from;                       // "primary": all of it, whatever the hub has
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

Result<void> tell_module(const ResyncWanted& wanted) {
  std::vector<std::string> messages;
  if (wanted.rate_kib) messages.push_back(fmt::format("resync rate {}", *wanted.rate_kib));
  if (wanted.pause) messages.emplace_back("resync pause");
  if (wanted.resume) messages.emplace_back("resync resume");
  for (const std::string& text : messages)
    if (auto told = dm::message(wanted.volume, text); !told) return told;
  return {};
}

/// Before the volume is created: the module reads the area only then.
Result<void> from_primary(const VolumeConfig& volume) {
  const auto there = dm::read_table(volume.name);
  if (!there) return there.error();
  if (*there)
    return Error{Errc::refused,
                 fmt::format("{0}: it is there; stop its applications and 'dmcascade "
                             "remove {0}' first",
                             volume.name)};
  const auto place = dm::place_of(volume);
  if (!place) return place.error();
  const auto area = meta::read_area(*place, volume.uuid);
  if (!area) return area.error();
  if (auto same = same_devices(volume, volume.primary, *area); !same) return same;
  return begin_from_here(*place, *area);
}

int resync(const Options& options, const ResyncWanted& wanted) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  const auto found = find_own_volume(*loaded, wanted.volume);
  if (!found) return complain(options, found.error());
  if (!wanted.from.empty()) {
    if (auto done = from_primary(*found->second); !done) return complain(options, done.error());
    fmt::print(
        "{0}: all of it will be copied over what hub and remote have, from 'dmcascade create "
        "{0}' on\n",
        wanted.volume);
    return exit_ok;
  }
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
  auto wanted = std::make_shared<ResyncWanted>();
  CLI::App* command = app.add_subcommand(
      "resync",
      "On a primary: how far the copying of what is out of sync is; hold it, slow it down");
  command->add_option("VOLUME", wanted->volume, "A volume of the configuration")->required();
  auto* pause = command->add_flag("--pause", wanted->pause, "Copy nothing until --resume");
  command->add_flag("--resume", wanted->resume, "Go on")->excludes(pause);
  command->add_option("--rate", wanted->rate_kib,
                      "KiB a second at the most; 0: as fast as the volume's own writes allow");
  command
      ->add_option("--from", wanted->from,
                   "primary: before the volume is created, say that its disk is what counts, "
                   "whatever the hub has")
      ->check(CLI::IsMember({"primary"}))
      ->excludes(pause);
  command->final_callback(
      [&, wanted] { action = [&options, wanted] { return resync(options, *wanted); }; });
}

}  // namespace cascade
