// SPDX-License-Identifier: GPL-2.0-or-later
//
// Metadata areas of this node's volumes, for the commands that make, accept and show them.
#pragma once

#include "lib/config/config.hpp"
#include "lib/meta/area.hpp"

namespace cascade {

/// What names the devices of a volume on a node today, into its area.
void name_devices(const VolumeConfig& volume, const std::string& node, const meta::Place& place,
                  meta::Area& area);

/// The same error, of that volume.
Error about(const VolumeConfig& volume, const Error& error);

/// A new area, with a new generation and what names the devices today.
/// `differs`: the hub's and the remote's copies do not have the volume's content, all of it has to
/// be copied.
Result<meta::Area> make_area(const VolumeConfig& volume, const meta::Place& place, bool force,
                             bool differs);

/// Whether the area is with the devices that it was made or accepted with. Errc::refused names
/// both.
Result<void> same_devices(const VolumeConfig& volume, const std::string& node,
                          const meta::Area& area);

/// The volume's disk is what counts from now on: whatever hub and remote have is copied over.
/// Forgets which hub it was with, and marks everything.
Result<void> begin_from_here(const meta::Place& place, meta::Area area);

/// From now on these devices are the right ones; written to the area.
Result<meta::Area> accept_devices(const VolumeConfig& volume, const meta::Place& place,
                                  meta::Area area);

}  // namespace cascade
