// SPDX-License-Identifier: GPL-2.0-or-later
// Asks the daemon of this node over its control socket.
#pragma once

#include "lib/api/api.hpp"

#include <string>

namespace cascade {

/// Errc::closed if no daemon answers there.
Result<api::StatusReport> ask_status(const std::string& socket_path);

}  // namespace cascade
