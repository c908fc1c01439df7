// SPDX-License-Identifier: GPL-2.0-or-later
// What comparing a volume has found, for people.
#pragma once

#include "lib/api/api.hpp"

#include <string>

namespace cascade {

/// How far it is, one line without an end. `volume` has one.
std::string verify_heading(const api::Volume& volume);
/// That, and what each copy has; each line behind `indent`.
std::string verify_lines(const api::Volume& volume, const std::string& indent);

}  // namespace cascade
