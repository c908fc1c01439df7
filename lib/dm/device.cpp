// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/dm/device.hpp"

#include "lib/dm/task.hpp"

#include <fmt/format.h>
#include <libdevmapper.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <thread>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace cascade::dm {
namespace {

constexpr std::chrono::milliseconds busy_interval{200};
constexpr std::string_view uuid_prefix = "DMCASCADE-";

/// Why the kernel refused a table stands in its log only: the way there belongs into the message.
Error create_failure(const std::string& name) {
  if (std::strstr(last_task_message().c_str(), "unknown target type") != nullptr || errno == ENXIO)
    return Error{Errc::not_found,
                 fmt::format("{}: the kernel does not know the cascade target; run 'modprobe "
                             "dm-cascade'",
                             name)};
  Error error = failure(name, "create");
  error.text += "; 'dmesg | tail' has the kernel's reason";
  return error;
}

const char* fence_word(FenceLevel level) {
  switch (level) {
    case FenceLevel::never:
      return "never";
    case FenceLevel::status:
      return "status";
    case FenceLevel::witness:
      return "witness";
    default:
      return "data";
  }
}

/// Of the volume that a device stands for; nothing if it is not one of ours.
std::optional<Uuid> uuid_of(const char* name) {
  const TaskPtr task = make_task(DM_DEVICE_INFO, name);
  const char* uuid =
      task == nullptr || dm_task_run(task.get()) == 0 ? nullptr : dm_task_get_uuid(task.get());
  const std::string_view text = uuid == nullptr ? "" : uuid;
  if (!text.starts_with(uuid_prefix)) return std::nullopt;
  const auto volume = parse_uuid(text.substr(uuid_prefix.size()));
  return volume ? std::optional(*volume) : std::nullopt;
}

}  // namespace

Result<meta::Place> place_of(const VolumeConfig& volume, const std::string& node) {
  const std::string& disk = volume.disk.at(node);
  const auto own_device = volume.meta.find(node);
  if (!volume.meta.empty() && own_device == volume.meta.end())
    return Error{Errc::not_found,
                 fmt::format("the file has no place for its metadata area on {0}; add {0} = "
                             "\"/dev/...\" to 'meta'",
                             node)};
  const auto backing = device_sectors(disk);
  if (!backing) return backing.error();
  if (volume.meta.empty()) return meta::internal_place(disk, *backing * 512);
  const auto own = device_sectors(own_device->second);
  if (!own) return own.error();
  return meta::own_place(own_device->second, *own * 512, *backing * 512);
}

Result<meta::Place> place_of(const VolumeConfig& volume) {
  return place_of(volume, volume.primary);
}

std::string table_params(const GroupConfig& group, const VolumeConfig& volume,
                         const meta::Place& place) {
  return fmt::format(
      "{} {} 0 {} {} 10 send_order {} hub_ack {} ring_size {} fence_level {} on_fence {}",
      to_text(volume.uuid), volume.disk.at(volume.primary), place.device, place.offset / 512,
      group.send_order == SendOrder::parallel ? "parallel" : "local-first",
      group.hub_ack == AckWhen::sync ? "sync" : "memory-sync", volume.ring_bytes / 1024,
      fence_word(group.fence_level),
      group.on_fence == OnFence::suspend_io ? "suspend-io" : "io-error");
}

Result<std::string> device_number(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0)
    return Error{errno == ENOENT ? Errc::not_found : Errc::io,
                 fmt::format("{}: {}", path, std::strerror(errno))};
  if (!S_ISBLK(st.st_mode))
    return Error{Errc::invalid, fmt::format("{} is not a block device", path)};
  return fmt::format("{}:{}", major(st.st_rdev), minor(st.st_rdev));
}

Result<std::uint64_t> device_sectors(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return Error{errno == ENOENT ? Errc::not_found : Errc::io,
                 fmt::format("{}: {}", path, std::strerror(errno))};
  std::uint64_t bytes = 0;
  const bool ok = ::ioctl(fd, BLKGETSIZE64, &bytes) == 0;
  ::close(fd);
  if (!ok) return Error{Errc::invalid, fmt::format("{} is not a block device", path)};
  return bytes / 512;
}

Result<std::optional<std::string>> read_table(const std::string& name) {
  const TaskPtr task = make_task(DM_DEVICE_TABLE, name);
  if (task == nullptr) return failure(name, "ask device-mapper");
  dm_info info{};
  if (dm_task_run(task.get()) == 0 || dm_task_get_info(task.get(), &info) == 0 || info.exists == 0)
    return std::optional<std::string>{};
  std::uint64_t start = 0, length = 0;
  char *type = nullptr, *params = nullptr;
  dm_get_next_target(task.get(), nullptr, &start, &length, &type, &params);
  return std::optional(fmt::format("{} {} {} {}", start, length, type == nullptr ? "" : type,
                                   params == nullptr ? "" : params));
}

Result<void> create(const std::string& name, const Uuid& volume, std::uint64_t sectors,
                    const std::string& params) {
  const TaskPtr task = make_task(DM_DEVICE_CREATE, name);
  if (task == nullptr) return failure(name, "create");
  dm_task_set_uuid(task.get(), fmt::format("{}{}", uuid_prefix, to_text(volume)).c_str());
  dm_task_add_target(task.get(), 0, sectors, target_type, params.c_str());
  if (!run_with_udev(task.get())) return create_failure(name);
  return {};
}

Result<std::vector<Made>> list_made() {
  const TaskPtr task = make_task(DM_DEVICE_LIST, "");
  if (task == nullptr || dm_task_run(task.get()) == 0)
    return failure("device-mapper", "list its devices");
  std::vector<Made> out;
  dm_names* names = dm_task_get_names(task.get());
  if (names == nullptr || names->dev == 0) return out;
  for (std::uint32_t next = 1; next != 0;) {
    next = names->next;
    if (const auto volume = uuid_of(names->name)) out.push_back({names->name, *volume});
    names = reinterpret_cast<dm_names*>(reinterpret_cast<char*>(names) + next);
  }
  return out;
}

Result<void> message(const std::string& name, const std::string& text) {
  const TaskPtr task = make_task(DM_DEVICE_TARGET_MSG, name);
  if (task == nullptr || dm_task_set_sector(task.get(), 0) == 0 ||
      dm_task_set_message(task.get(), text.c_str()) == 0 || dm_task_run(task.get()) == 0)
    return failure(name, "send a message to");
  return {};
}

Result<void> reload(const std::string& name, std::uint64_t sectors, const std::string& params) {
  const TaskPtr load = make_task(DM_DEVICE_RELOAD, name);
  if (load == nullptr) return failure(name, "reload");
  dm_task_add_target(load.get(), 0, sectors, target_type, params.c_str());
  if (dm_task_run(load.get()) == 0)
    return Error{Errc::refused,
                 fmt::format("{}: the kernel does not take the new table; ring-size and the place "
                             "of the metadata need 'dmcascade remove' and 'create'; 'dmesg | "
                             "tail' has its reason",
                             name)};
  const TaskPtr suspend = make_task(DM_DEVICE_SUSPEND, name);
  if (suspend == nullptr || dm_task_no_flush(suspend.get()) == 0 ||
      dm_task_skip_lockfs(suspend.get()) == 0 || dm_task_run(suspend.get()) == 0)
    return failure(name, "suspend");
  const TaskPtr resume = make_task(DM_DEVICE_RESUME, name);
  if (resume == nullptr || !run_with_udev(resume.get())) return failure(name, "resume");
  return {};
}

Result<void> remove(const std::string& name, std::chrono::seconds wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (;;) {
    const TaskPtr task = make_task(DM_DEVICE_REMOVE, name);
    if (task != nullptr && run_with_udev(task.get())) return {};
    const bool busy = task != nullptr && dm_task_get_errno(task.get()) == EBUSY;
    errno = busy ? EBUSY : errno;
    if (!busy || std::chrono::steady_clock::now() >= deadline) return failure(name, "remove");
    std::this_thread::sleep_for(busy_interval);
  }
}

}  // namespace cascade::dm
