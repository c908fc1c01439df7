// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/dm/drill.hpp"

#include "lib/block/identity.hpp"
#include "lib/dm/device.hpp"
#include "lib/dm/task.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <string_view>

namespace cascade::dm {
namespace {

// In front of the UUIDs of the mapped devices. What an image shows stands behind its volume's:
// the kernel keeps it as long as the image itself.
constexpr std::string_view origin_prefix = "DMCASCADE_DRILL-ORIGIN-";
constexpr std::string_view image_prefix = "DMCASCADE_DRILL-IMAGE-";
constexpr std::size_t uuid_chars = 36;

// What is copied at the first change within it: small enough for random writes, and 4 M of them
// (64 MiB of the kernel's memory at 16 bytes each) are 64 GiB of changes.
constexpr std::uint64_t chunk_sectors = 32;

// The same file system as on the copy: nothing is to find it by its UUID or label, or activate it.
constexpr std::uint16_t not_looked_into = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
                                          DM_UDEV_DISABLE_DISK_RULES_FLAG |
                                          DM_UDEV_DISABLE_OTHER_RULES_FLAG;

struct Holder {
  std::string name;
  std::string uuid;  // without the prefix
};

/// The mapped device over `device` whose UUID begins with that. Of sysfs: it needs no privilege,
/// and can't wait.
std::optional<Holder> holder_of(const std::string& device, std::string_view prefix) {
  const auto number = device_number(device);
  if (!number) return std::nullopt;
  std::error_code ec;
  const std::string folder = fmt::format("/sys/dev/block/{}/holders", *number);
  for (const auto& entry : std::filesystem::directory_iterator(folder, ec)) {
    const std::string uuid = first_line(entry.path() / "dm" / "uuid");
    if (uuid.starts_with(prefix))
      return Holder{first_line(entry.path() / "dm" / "name"), uuid.substr(prefix.size())};
  }
  return std::nullopt;
}

std::string image_uuid(const Uuid& volume, const DrillPoint& point) {
  return fmt::format("{}{}-{}-{}", image_prefix, to_text(volume), point.seq, point.time_ns);
}

/// Of what stands behind the prefix.
bool read_uuid(std::string_view text, DrillImage& out) {
  const auto volume = parse_uuid(text.substr(0, uuid_chars));
  if (!volume || text.size() <= uuid_chars) return false;
  out.volume = *volume;
  const std::string numbers(text.substr(uuid_chars));
  return std::sscanf(numbers.c_str(), "-%lu-%lu", &out.point.seq, &out.point.time_ns) == 2;
}

/// "<used>/<all> <of metadata>" in sectors, or a word for what went wrong.
void read_state(const char* text, DrillImage& out) {
  unsigned long used = 0, all = 0;
  out.broken = text == nullptr || std::sscanf(text, "%lu/%lu", &used, &all) != 2;
  out.used_bytes = used * 512;
  out.space_bytes = all * 512;
}

Result<void> make(const std::string& name, const std::string& uuid, const std::string& device,
                  const char* target, const std::string& params) {
  const auto sectors = device_sectors(device);
  if (!sectors) return sectors.error();
  const std::scoped_lock alone(task_mutex());
  const TaskPtr task = make_task(DM_DEVICE_CREATE, name);
  if (task == nullptr) return failure(name, "create");
  dm_task_set_uuid(task.get(), uuid.c_str());
  dm_task_add_target(task.get(), 0, *sectors, target, params.c_str());
  if (run_with_udev(task.get(), not_looked_into)) return {};
  const int error = dm_task_get_errno(task.get());
  if (error == EINVAL && !std::filesystem::exists("/sys/module/dm_snapshot"))
    return Error{Errc::not_found,
                 fmt::format("{}: the kernel does not know the {} target; run 'modprobe "
                             "dm-snapshot'",
                             name, target)};
  return failure(name, "create");
}

}  // namespace

std::string drill_image_name(const std::string& volume) { return volume + "-drill"; }
std::string drill_origin_name(const std::string& volume) { return volume + "-drill-origin"; }

std::string drill_origin_over(const std::string& device) {
  const auto holder = holder_of(device, origin_prefix);
  return holder ? "/dev/mapper/" + holder->name : std::string();
}

std::optional<DrillImage> drill_image_over(const std::string& device) {
  const auto holder = holder_of(device, image_prefix);
  DrillImage out;
  if (!holder || !read_uuid(holder->uuid, out)) return std::nullopt;
  out.path = "/dev/mapper/" + holder->name;
  const std::scoped_lock alone(task_mutex());
  const TaskPtr task = make_task(DM_DEVICE_STATUS, holder->name);
  if (task == nullptr || dm_task_run(task.get()) == 0) return std::nullopt;
  std::uint64_t start = 0, length = 0;
  char *type = nullptr, *params = nullptr;
  dm_get_next_target(task.get(), nullptr, &start, &length, &type, &params);
  read_state(params, out);
  return out;
}

/// Each chunk once, and one that the kernel leaves out.
std::uint64_t drill_space_max(std::uint64_t copy_bytes) {
  const std::uint64_t chunk = chunk_sectors * 512;
  return (copy_bytes / chunk + 2) * chunk;
}

Result<void> make_drill_origin(const std::string& volume_name, const Uuid& volume,
                               const std::string& device) {
  return make(drill_origin_name(volume_name), fmt::format("{}{}", origin_prefix, to_text(volume)),
              device, "snapshot-origin", device);
}

/// "N": what is kept on the space is not found again after a boot, nor wanted.
Result<void> make_drill_image(const std::string& volume_name, const Uuid& volume,
                              const std::string& device, const std::string& space,
                              const DrillPoint& point) {
  return make(drill_image_name(volume_name), image_uuid(volume, point), device, "snapshot",
              fmt::format("{} {} N {}", device, space, chunk_sectors));
}

}  // namespace cascade::dm
