// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a configuration probably does not mean, although it can work.
#pragma once

#include "lib/config/config.hpp"

#include <string>
#include <vector>

namespace cascade {

/// One line each: what, and what to do instead. From the file alone; touches no device.
std::vector<std::string> advice_on(const Config& config);

/// The same of what this machine can see: names that resolve to nothing or to the machine itself,
/// devices that are not there, two paths that lead to one device. Asks the resolver; may wait for
/// it.
std::vector<std::string> advice_here(const Config& config, const std::string& node);

}  // namespace cascade
