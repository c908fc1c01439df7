// SPDX-License-Identifier: GPL-2.0-or-later
// Asks the daemon of this node over its control socket.
#pragma once

#include "lib/api/api.hpp"

#include <chrono>
#include <string>
#include <thread>

namespace cascade {

/// How often a command that waits for the daemon looks at it.
constexpr std::chrono::milliseconds look_interval{200};

/// Looks until is_over() says true, for so long at the most; whether it did.
template <class F>
bool look_until(std::chrono::seconds wait, F is_over) {
  const auto end = std::chrono::steady_clock::now() + wait;
  while (!is_over()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(look_interval);
  }
  return true;
}

/// Errc::closed if no daemon answers there.
Result<api::StatusReport> ask_status(const std::string& socket_path);

/// Null if the node has nothing of it.
const api::Group* find_group(const api::StatusReport& report, const std::string& name);

/// Errc::not_found if the node has nothing of one of these groups.
Result<void> need_groups(const api::StatusReport& report, const std::vector<std::string>& groups);

/// `dmcascade promote`, or what it would do.
Result<api::Takeover> ask_takeover(const std::string& socket_path, const api::Request& request);

/// Any command that is done or not. Errors as above, or the daemon's own.
Result<api::Done> tell(const std::string& socket_path, const api::Request& request);

}  // namespace cascade
