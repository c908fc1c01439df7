// SPDX-License-Identifier: GPL-2.0-or-later
//
// One owner for a file that stands for a device: what O_EXCL does for block devices.
#pragma once

#include "lib/base/result.hpp"

#include <string>

namespace cascade {

/// Takes the whole file for this open descriptor, until it is closed (an OFD lock: fcntl(2)).
/// Errc::refused if somebody has it, in this process or another; `path` names it.
Result<void> lock_file(int fd, const std::string& path);

}  // namespace cascade
