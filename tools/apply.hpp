// SPDX-License-Identifier: GPL-2.0-or-later
// `dmcascade apply`, for commands that do it as a part of what they do.
#pragma once

#include "tools/command.hpp"

#include <chrono>
#include <string>

namespace cascade {

/// Removes the mapped device of a volume; false: it was not there. Errc::refused if one of that
/// name is not of this volume, or still open after `wait`.
Result<bool> remove_device(const VolumeConfig& volume, std::chrono::seconds wait);

/// The daemon reads the file again; one that does not run will when it starts. Prints what it does.
Result<void> apply_to_daemon(const std::string& socket, bool dry_run);

/// This node as the file says: its daemon, and the devices of the volumes of which it is the
/// primary. One that can't be done says so, and stops none of the others; an exit code.
int apply_node(const Options& options, const Loaded& loaded, bool dry_run);

}  // namespace cascade
