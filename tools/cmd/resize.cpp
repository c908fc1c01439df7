// SPDX-License-Identifier: GPL-2.0-or-later
//
// resize: a volume takes what its devices have grown by, while it is in use. Copies that have grown
// are noticed by their daemons.
#include "lib/config/units.hpp"
#include "lib/dm/device.hpp"
#include "tools/area.hpp"
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <memory>
#include <thread>

namespace cascade {
namespace {

constexpr std::chrono::seconds hub_wait{15};

/// Sectors of a table line, "0 <sectors> cascade ...".
std::uint64_t sectors_of(const std::string& table) {
  std::uint64_t sectors = 0;
  const auto at = table.find(' ') + 1;
  std::from_chars(table.data() + at, table.data() + table.size(), sectors);
  return sectors;
}

/// Whether the area has room for the size that the devices give, and stays where it is.
Result<meta::Place> place_for(const VolumeConfig& volume, std::uint64_t sectors_now) {
  if (volume.meta.empty())
    return Error{Errc::refused,
                 "its metadata area is at the end of its disk, and does not move while the volume "
                 "is in use; give it a device of its own (meta) to be able to grow"};
  const auto place = dm::place_of(volume);
  if (!place) return place;
  const auto area = meta::read_area(*place, volume.uuid);
  if (!area) return area.error();
  if (meta::area_bytes(place->volume_bytes) > area->area_bytes)
    return Error{Errc::refused,
                 fmt::format("its metadata area of {} bytes on {} has no room for the bitmap of {}",
                             area->area_bytes, place->device, human_bytes(place->volume_bytes))};
  if (place->volume_bytes / 512 < sectors_now)
    return Error{Errc::refused, fmt::format("its disk is smaller than the volume ({} of {} bytes): "
                                            "a volume does not shrink",
                                            place->volume_bytes, sectors_now * 512)};
  return place;
}

/// What the daemon says of the volume once it and the hub know the new size; nothing: no answer.
std::optional<api::Volume> look(const std::string& socket, const std::string& name) {
  const auto report = ask_status(socket);
  if (!report) return std::nullopt;
  for (const auto& group : report->groups)
    for (const auto& volume : group.volumes)
      if (volume.name == name && volume.role == "primary") return volume;
  return std::nullopt;
}

/// Waits for the hub's word: a copy that is too small there makes writers wait.
Result<void> wait_for_hub(const std::string& socket, const std::string& name, std::uint64_t bytes) {
  std::optional<api::Volume> volume;
  look_until(hub_wait, [&] {
    volume = look(socket, name);
    return !volume || (volume->size_bytes == bytes &&
                       (volume->state == "refused" || volume->state == "replicating"));
  });
  if (!volume) {
    fmt::print("{}: the daemon does not answer; it takes the new size when it runs\n", name);
    return {};
  }
  if (volume->size_bytes == bytes && volume->state == "replicating") return {};
  return Error{Errc::refused,
               fmt::format("{}: has its new size, but is {}: {}", name, volume->state,
                           volume->reason.empty() ? "see status" : volume->reason)};
}

int resize(const Options& options, const std::string& name) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  const auto found = find_own_volume(*loaded, name);
  if (!found) return complain(options, found.error());
  if (auto root = need_root(); !root) return complain(options, root.error(), exit_permission);
  const auto& [group, volume] = *found;
  const auto there = dm::read_table(name);
  if (!there) return complain(options, there.error());
  if (!*there)
    return complain(options, Error{Errc::not_found,
                                   fmt::format("{0}: is not there; 'dmcascade create {0}' makes it "
                                               "as large as its devices",
                                               name)});
  const auto place = place_for(*volume, sectors_of(**there));
  if (!place) return complain(options, about(*volume, place.error()));
  const std::uint64_t before = sectors_of(**there) * 512, bytes = place->volume_bytes;
  if (before == bytes) {
    fmt::print("{}: is as large as its disk, {}\n", name, human_bytes(bytes));
    return exit_ok;
  }
  const auto done = dm::reload(name, bytes / 512, dm::table_params(*group, *volume, *place));
  if (!done) return complain(options, done.error());
  fmt::print("{}: {} instead of {}\n", name, human_bytes(bytes), human_bytes(before));
  const auto taken =
      wait_for_hub(options.socket.value_or(loaded->config.daemon.socket), name, bytes);
  return taken ? static_cast<int>(exit_ok) : complain(options, taken.error());
}

}  // namespace

void add_resize(CLI::App& app, const Options& options, Action& action) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "resize",
      "Let a volume take what its disk has grown by; the copies have to have grown before");
  command->add_option("VOLUME", *name, "A volume of the configuration")->required();
  command->final_callback(
      [&options, &action, name] { action = [&options, name] { return resize(options, *name); }; });
}

}  // namespace cascade
