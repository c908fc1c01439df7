// SPDX-License-Identifier: GPL-2.0-or-later
//
// Mapped devices of our target, through libdevmapper: what `dmsetup` would do, with errors as one
// line. Waits for udev where there is one.
#pragma once

#include "lib/config/config.hpp"
#include "lib/meta/area.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cascade::dm {

inline constexpr const char* target_type = "cascade";

/// Where the metadata area of a volume is on its primary, and how large the volume is, by the sizes
/// of the devices. Run it there.
Result<meta::Place> place_of(const VolumeConfig& volume);
/// The same if `node`, which has a disk of it, were its primary; Errc::not_found if the file has no
/// place for the area there.
Result<meta::Place> place_of(const VolumeConfig& volume, const std::string& node);

/// The parameters of a volume's table line:
/// "<uuid> <device> <offset> <metadata device> <offset> <#args> <args>".
std::string table_params(const GroupConfig& group, const VolumeConfig& volume,
                         const meta::Place& place);

/// "major:minor" of a block device, as the kernel prints it in tables; Errc::not_found, invalid.
Result<std::string> device_number(const std::string& path);

/// Sectors of 512 bytes of a block device.
Result<std::uint64_t> device_sectors(const std::string& path);

/// The table line of a device, "0 <sectors> cascade <params>"; nothing if there is no such device.
Result<std::optional<std::string>> read_table(const std::string& name);

/// Creates /dev/mapper/<name>. Errc::not_found if the module is not there, Errc::refused with the
/// kernel's own reason otherwise.
Result<void> create(const std::string& name, const Uuid& volume, std::uint64_t sectors,
                    const std::string& params);

/// A mapped device that create() made, by its own UUID.
struct Made {
  std::string name;
  Uuid volume;
};
/// All of them.
Result<std::vector<Made>> list_made();

/// `dmsetup message <name> 0 <text>`.
Result<void> message(const std::string& name, const std::string& text);

/// Another table for a device that is there, as `dmsetup reload` and a suspend without flush would
/// give it: what waits goes on under the new one. Errc::refused if the kernel does not take it; the
/// old one is in use then.
Result<void> reload(const std::string& name, std::uint64_t sectors, const std::string& params);

/// Errc::refused if it is still open after `wait`: udev, or a file system that is being unmounted,
/// may have it for a moment.
Result<void> remove(const std::string& name, std::chrono::seconds wait);

}  // namespace cascade::dm
