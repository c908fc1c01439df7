// SPDX-License-Identifier: GPL-2.0-or-later
//
// drill: an image of a group on this node, to be written and thrown away, while its copies go on.
#include "tools/drill.hpp"
#include "tools/client.hpp"

#include "lib/block/loop.hpp"
#include "lib/config/units.hpp"
#include "lib/dm/device.hpp"
#include "lib/dm/drill.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace cascade {
namespace {

constexpr std::chrono::milliseconds held_interval{50};  // held copies fill a journal
constexpr int looks = 600;                              // 30 s
constexpr int looks_at = 12'000;  // 10 min, in which what was not due yet is applied
constexpr std::chrono::seconds remove_wait{5};

// Of a copy, that may change in it and its image before the image breaks.
constexpr std::uint64_t space_share = 5;  // a fifth
constexpr std::uint64_t space_min = 16 << 20;

struct DrillWanted {
  std::string group;
  std::string folder = drill_folder;
  std::string space = {};
  std::uint64_t at_ns = 0;
};

/// A volume that has a copy on this node.
struct Copy {
  const VolumeConfig* volume;
  std::string device;
};

/// Everything that a command here needs.
struct DrillScene {
  const Options& options;
  Loaded loaded;
  const GroupConfig* group;
  std::string socket;
  std::vector<Copy> copies;

  int complain(const Error& error) const {
    return cascade::complain(options, {error.code, fmt::format("{}: {}", group->name, error.text)});
  }
  Result<void> order(std::string_view command, std::uint64_t at_ns = 0) const {
    api::Request request{std::string(command), group->name};
    request.at_ns = at_ns;
    const auto told = tell(socket, request);
    return told ? Result<void>{} : told.error();
  }
};

std::optional<DrillScene> set_scene(const Options& options, const std::string& name, int& code) {
  if (auto root = need_root(); !root) {
    code = complain(options, root.error(), exit_permission);
    return std::nullopt;
  }
  auto loaded = load(options, code);
  if (!loaded) return std::nullopt;
  DrillScene out{options, std::move(*loaded), nullptr, {}, {}};
  out.socket = options.socket.value_or(out.loaded.config.daemon.socket);
  out.group = out.loaded.config.group(name);
  if (out.group == nullptr) {
    code = complain(options, {Errc::not_found, fmt::format("{}: no such group", name)});
    return std::nullopt;
  }
  const std::string& node = out.loaded.node;
  if (node == out.group->hub || node == out.group->remote)
    for (const VolumeConfig& volume : out.group->volumes)
      if (const auto disk = volume.disk.find(node); disk != volume.disk.end())
        out.copies.push_back({&volume, disk->second});
  if (out.copies.empty()) {
    code = out.complain({Errc::refused, fmt::format("{} keeps no copies of it", node)});
    return std::nullopt;
  }
  return out;
}

/// As of which write the copies stand, once they do.
Result<std::uint64_t> wait_held(const DrillScene& scene, int times = looks) {
  for (int i = 0; i < times; ++i) {
    const auto report = ask_status(scene.socket);
    if (!report) return report.error();
    const api::Group* group = find_group(*report, scene.group->name);
    if (group == nullptr || !group->drill)
      return Error{Errc::refused, "the copies could not be held: see status"};
    if (group->drill->state == "held") return group->drill->as_of_seq;
    std::this_thread::sleep_for(held_interval);
  }
  (void)scene.order(api::command_drill_go_on);
  return Error{Errc::refused,
               "the copies do not come to a point where they are an image of one moment; see "
               "status, and try again"};
}

// ---- stop

Result<bool> remove_if_there(const std::string& name) {
  const auto table = dm::read_table(name);
  if (!table) return table.error();
  if (!*table) return false;
  if (auto gone = dm::remove(name, remove_wait); !gone) return gone.error();
  return true;
}

/// Whether there were any.
Result<bool> remove_all(const DrillScene& scene, std::string (*name_of)(const std::string&)) {
  bool any = false;
  for (const Copy& copy : scene.copies) {
    const auto removed = remove_if_there(name_of(copy.volume->name));
    if (!removed) return removed.error();
    any = any || *removed;
  }
  return any;
}

/// From under a daemon, if one has them.
Result<bool> remove_origins(const DrillScene& scene) {
  const auto told = scene.order(api::command_drill_end);
  const auto held = told ? wait_held(scene) : told.error();
  const auto removed = remove_all(scene, dm::drill_origin_name);
  if (held) (void)scene.order(api::command_drill_go_on);
  // A daemon, or a group of it, that does not run has nothing open.
  return removed || held ? removed : held.error();
}

/// Whether there was one.
Result<bool> remove_drill(const DrillScene& scene) {
  const auto images = remove_all(scene, dm::drill_image_name);
  if (!images) return images.error();
  const bool origins = std::any_of(scene.copies.begin(), scene.copies.end(), [](const Copy& copy) {
    return !dm::drill_origin_over(copy.device).empty();
  });
  if (!origins) return *images;
  return remove_origins(scene);
}

int stop(const Options& options, const std::string& group) {
  int code = 0;
  const auto scene = set_scene(options, group, code);
  if (!scene) return code;
  const auto removed = remove_drill(*scene);
  if (!removed) return scene->complain(removed.error());
  fmt::print("{}: {}\n", group, *removed ? "the drill is over" : "no drill runs here");
  return exit_ok;
}

// ---- start

/// What each image may change, reserved before anything stands still for it.
Result<std::vector<LoopDevice>> reserve(const DrillScene& scene, const DrillWanted& wanted,
                                        std::optional<std::uint64_t> bytes) {
  std::vector<LoopDevice> out;
  for (const Copy& copy : scene.copies) {
    const auto sectors = dm::device_sectors(copy.device);
    if (!sectors)
      return Error{sectors.error().code,
                   fmt::format("{}; a drill needs copies on block devices (losetup makes one of a "
                               "file)",
                               sectors.error().text)};
    const std::uint64_t size = *sectors * 512;
    const std::uint64_t share = bytes.value_or(std::max(size / space_share, space_min));
    auto loop = LoopDevice::make(wanted.folder, std::min(share, dm::drill_space_max(size)));
    if (!loop)
      return Error{loop.error().code, fmt::format("{}; for the changes of {}: --space, --in",
                                                  loop.error().text, copy.volume->name)};
    out.push_back(std::move(*loop));
  }
  return out;
}

/// While the copies are held.
Result<void> put_images(const DrillScene& scene, const std::vector<LoopDevice>& spaces,
                        const dm::DrillPoint& point) {
  for (std::size_t i = 0; i < scene.copies.size(); ++i) {
    const Copy& copy = scene.copies[i];
    const VolumeConfig& volume = *copy.volume;
    if (auto made =
            dm::make_drill_image(volume.name, volume.uuid, copy.device, spaces[i].path(), point);
        !made)
      return made;
    if (auto made = dm::make_drill_origin(volume.name, volume.uuid, copy.device); !made)
      return made;
  }
  return {};
}

/// As of which write the copies were handed over by a promotion; nothing: the daemon has them.
std::optional<std::uint64_t> handed_over(const DrillScene& scene) {
  const auto report = ask_status(scene.socket);
  const api::Group* group = report ? find_group(*report, scene.group->name) : nullptr;
  if (group == nullptr || !group->takeover || group->takeover->state != "promoted")
    return std::nullopt;
  return group->takeover->through_seq;
}

/// Copies that nobody has: what was written to them after a promotion is in the images, too.
Result<dm::DrillPoint> begin_alone(const DrillScene& scene, const std::vector<LoopDevice>& spaces,
                                   std::uint64_t seq) {
  const dm::DrillPoint point{seq, now_ns()};
  const auto made = put_images(scene, spaces, point);
  if (made) return point;
  (void)remove_all(scene, dm::drill_image_name);
  (void)remove_all(scene, dm::drill_origin_name);
  return made.error();
}

Result<dm::DrillPoint> begin(const DrillScene& scene, const std::vector<LoopDevice>& spaces,
                             std::uint64_t at_ns) {
  if (const auto seq = handed_over(scene)) {
    if (at_ns == 0) return begin_alone(scene, spaces, *seq);
    return Error{Errc::refused, "the group was promoted here: its copies are as they are"};
  }
  if (auto told = scene.order(api::command_drill_begin, at_ns); !told) return told.error();
  const auto seq = wait_held(scene, at_ns == 0 ? looks : looks_at);
  if (!seq) return seq.error();
  const dm::DrillPoint point{*seq, now_ns()};
  auto made = put_images(scene, spaces, point);
  const auto gone_on = scene.order(api::command_drill_go_on);
  if (made && gone_on) return point;
  const Error why = made ? gone_on.error() : made.error();
  if (const auto removed = remove_drill(scene); !removed)
    return Error{why.code, fmt::format("{}; and what was made could not be removed: {}", why.text,
                                       removed.error().text)};
  return why;
}

int start(const Options& options, const DrillWanted& wanted) {
  int code = 0;
  const auto scene = set_scene(options, wanted.group, code);
  if (!scene) return code;
  std::optional<std::uint64_t> bytes;
  if (!wanted.space.empty()) {
    bytes = parse_size(wanted.space);
    if (!bytes)
      return complain(options, {Errc::invalid, "--space takes a size like 512MiB or 2GiB"},
                      exit_usage);
  }
  for (const Copy& copy : scene->copies)
    if (!dm::drill_origin_over(copy.device).empty())
      return scene->complain({Errc::refused, fmt::format("a drill runs here; 'dmcascade drill stop "
                                                         "{}'",
                                                         wanted.group)});
  const auto spaces = reserve(*scene, wanted, bytes);
  if (!spaces) return scene->complain(spaces.error());
  const auto point = begin(*scene, *spaces, wanted.at_ns);
  if (!point) return scene->complain(point.error());
  if (options.json) return exit_ok;
  fmt::print("{}: images as of write {}; mount, write, and 'dmcascade drill stop {}'\n",
             wanted.group, point->seq, wanted.group);
  for (const Copy& copy : scene->copies)
    fmt::print("  {}: /dev/mapper/{}\n", copy.volume->name,
               dm::drill_image_name(copy.volume->name));
  return exit_ok;
}

}  // namespace

int start_drill(const Options& options, const std::string& group, const std::string& folder) {
  return start(options, {group, folder});
}

void add_drill(CLI::App& app, const Options& options, Action& action) {
  CLI::App* drill = app.add_subcommand(
      "drill", "On hub or remote: images of a group to try things on, while its copies go on");
  drill->require_subcommand(1);
  auto wanted = std::make_shared<DrillWanted>();
  CLI::App* begin = drill->add_subcommand("start", "Make them, as of now or of --at");
  begin->add_option("GROUP", wanted->group, "A group of the configuration")->required();
  begin->add_option("--in", wanted->folder, "Folder for what changes in copies and images")
      ->capture_default_str();
  add_moment(*begin, "--at", wanted->at_ns, "As of then, by when this node took writes in");
  begin->add_option("--space", wanted->space,
                    "So much of it a volume, reserved, like 2GiB; a fifth of the copy without");
  begin->final_callback(
      [&, wanted] { action = [&options, wanted] { return start(options, *wanted); }; });
  CLI::App* end = drill->add_subcommand("stop", "Throw them away");
  end->add_option("GROUP", wanted->group, "A group of the configuration")->required();
  end->final_callback(
      [&, wanted] { action = [&options, wanted] { return stop(options, wanted->group); }; });
}

}  // namespace cascade
