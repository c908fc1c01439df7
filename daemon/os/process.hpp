// SPDX-License-Identifier: GPL-2.0-or-later
//
// What makes a process fit to sit in the write path: memory that stays, no reclaim recursion.
#pragma once

#include "lib/base/result.hpp"

#include <string>
#include <vector>

namespace cascade::os {

/// Locks memory, marks the process as an I/O flusher, makes the OOM killer look elsewhere.
/// Returns what could not be done, one line each; the daemon goes on without it.
std::vector<std::string> harden_process();

/// The machine's host name.
std::string host_name();

}  // namespace cascade::os
