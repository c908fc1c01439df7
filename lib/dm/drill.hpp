// SPDX-License-Identifier: GPL-2.0-or-later
//
// A drill: a snapshot of a copy (dm-snapshot), to be written and thrown away, while the copy itself
// goes on. Two mapped devices a volume: the image, which is the volume as of a moment, and the
// origin, through which alone the copy may be written as long as the image is there. What one of
// them changes is kept on a device of its own. They live until they are removed, or the machine
// boots: nothing of them has to be mended.
//
// Functions may be called from any thread.
#pragma once

#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace cascade::dm {

/// What an image shows.
struct DrillPoint {
  std::uint64_t seq = 0;      // group_seq through which it has everything
  std::uint64_t time_ns = 0;  // CLOCK_REALTIME when it was made
  bool operator==(const DrillPoint&) const = default;
};

struct DrillImage {
  std::string path;  // "/dev/mapper/orders-drill"
  Uuid volume;
  DrillPoint point;
  std::uint64_t used_bytes = 0;  // of the space for what was changed
  std::uint64_t space_bytes = 0;
  bool broken = false;  // the space was too small, or failed: the image gives errors
};

/// Names of the mapped devices of a volume.
std::string drill_image_name(const std::string& volume);
std::string drill_origin_name(const std::string& volume);

/// The path of the origin that lies over this block device; empty: none does.
std::string drill_origin_over(const std::string& device);
/// The image of this block device; nothing if there is none.
std::optional<DrillImage> drill_image_over(const std::string& device);

/// Bytes of space with which an image never runs full.
std::uint64_t drill_space_max(std::uint64_t copy_bytes);

/// `space`: a block device. The image changes with its copy until there is an origin, too.
/// Errc::not_found without dm-snapshot, refused with the kernel's reason.
Result<void> make_drill_image(const std::string& volume_name, const Uuid& volume,
                              const std::string& device, const std::string& space,
                              const DrillPoint& point);
/// Puts the origin over a copy that nobody has. After the image, and before anything is written
/// through it: it learns only when it begins how to cut a large write to the pieces that an image
/// keeps one by one.
Result<void> make_drill_origin(const std::string& volume_name, const Uuid& volume,
                               const std::string& device);

}  // namespace cascade::dm
