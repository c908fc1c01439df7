// SPDX-License-Identifier: GPL-2.0-or-later
// Asks the daemon of this node over its control socket.
#pragma once

#include "lib/api/api.hpp"

#include <string>

namespace cascade {

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
