// SPDX-License-Identifier: GPL-2.0-or-later
//
// metadata format, metadata show: the metadata area of a volume on its primary, and what it tells.
#include "lib/config/units.hpp"
#include "lib/dm/device.hpp"
#include "tools/area.hpp"
#include "tools/command.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <memory>

namespace cascade {
namespace {

struct MetadataWanted {
  std::string volume;
  bool force = false;
};

std::string when(std::uint64_t ns) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}",
                     fmt::localtime(static_cast<std::time_t>(ns / 1'000'000'000)));
}

std::string or_none(const std::string& text) { return text.empty() ? "nothing names it" : text; }

Result<void> format(const VolumeConfig& volume, const meta::Place& place,
                    const MetadataWanted& wanted) {
  const auto area = make_area(volume, place, wanted.force, false);
  if (!area) return area.error();
  fmt::print("{}: metadata area on {}, {} from byte {} on; volume of {}, generation {}\n",
             volume.name, place.device, human_bytes(place.area_bytes), place.offset,
             human_bytes(place.volume_bytes), to_text(area->generations.front().id));
  return {};
}

/// What the superblock said when it was written last; the module writes it at resume and suspend.
Result<void> show(const VolumeConfig& volume, const meta::Place& place, const MetadataWanted&) {
  const auto area = meta::read_area(place, volume.uuid);
  if (!area) return area.error();
  const Uuid nobody{};
  fmt::print("volume {}  metadata area on {} from byte {} on, {}\n", volume.name, place.device,
             place.offset, area->clean ? "closed in order" : "in use, or not closed in order");
  for (const auto& generation : area->generations)
    fmt::print("  generation {}, from write {} on\n", to_text(generation.id), generation.began + 1);
  if (area->numbered)
    fmt::print("  write {}{}, with the hub's journal {}\n", area->end_seq,
               area->clean ? " was its last" : " or a later one was its last",
               to_text(area->journal));
  if (area->incarnation != nobody) fmt::print("  ring {}\n", to_text(area->incarnation));
  fmt::print("  volume of {}; superblock {}, {}\n", human_bytes(area->volume_bytes), area->counter,
             when(area->written_ns));
  fmt::print("  disk: {}\n", or_none(area->device));
  if (!volume.meta.empty()) fmt::print("  metadata device: {}\n", or_none(area->meta_device));
  if (area->local_errors != 0) fmt::print("  {} local writes failed\n", area->local_errors);
  if (area->differs != 0)
    fmt::print("  it and the hub's copy may differ: {}\n", meta::differs_text(area->differs));
  return {};
}

int with_volume(const Options& options, const MetadataWanted& wanted,
                Result<void> (*act)(const VolumeConfig&, const meta::Place&,
                                    const MetadataWanted&)) {
  int code = exit_ok;
  const auto loaded = load(options, code);
  if (!loaded) return code;
  const auto found = find_own_volume(*loaded, wanted.volume);
  if (!found) return complain(options, found.error());
  const VolumeConfig& volume = *found->second;
  const auto place = dm::place_of(volume);
  if (!place) return complain(options, about(volume, place.error()));
  if (auto done = act(volume, *place, wanted); !done)
    return complain(options, about(volume, done.error()));
  return exit_ok;
}

}  // namespace

void add_metadata(CLI::App& app, const Options& options, Action& action) {
  CLI::App* metadata = app.add_subcommand("metadata", "Metadata areas of a primary's volumes");
  metadata->require_subcommand(1);
  auto wanted = std::make_shared<MetadataWanted>();
  CLI::App* command = metadata->add_subcommand(
      "format", "Make it anew: the volume begins a new history (as 'create --new' does)");
  command->add_option("VOLUME", wanted->volume, "A volume of the configuration")->required();
  command->add_flag("--force", wanted->force, "Even where an area or something else is");
  command->final_callback([&, wanted] {
    action = [&options, wanted] { return with_volume(options, *wanted, format); };
  });
  auto shown = std::make_shared<MetadataWanted>();
  CLI::App* show_command =
      metadata->add_subcommand("show", "Say of which history the disk is, and how it ended");
  show_command->add_option("VOLUME", shown->volume, "A volume of the configuration")->required();
  show_command->final_callback(
      [&, shown] { action = [&options, shown] { return with_volume(options, *shown, show); }; });
}

}  // namespace cascade
