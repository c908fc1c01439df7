// SPDX-License-Identifier: GPL-2.0-or-later
//
// What names a block device whatever path and number it has today.
#pragma once

#include <cstdint>
#include <string>

namespace cascade {

/// From sysfs, the first of: device-mapper's UUID (LVM, multipath, dm-crypt), MD's, the WWID, the
/// serial number, a loop device's file; of a partition that of its disk and the number. The same
/// sources that udev makes /dev/disk/by-id of. Empty for a file and for a device that nothing
/// names.
std::string device_identity(const std::string& path);

/// XXH3 of it with 64 bits, for where there is no room for the text; zero for none.
std::uint64_t identity_hash(const std::string& identity);

/// The first line of a file of sysfs without the spaces around it; empty if there is none.
std::string first_line(const std::string& path);

}  // namespace cascade
