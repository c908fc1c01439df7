// SPDX-License-Identifier: GPL-2.0-or-later
#include "tools/area.hpp"

#include "tools/command.hpp"

#include "lib/block/identity.hpp"

#include <fmt/format.h>

namespace cascade {
namespace {

/// As an area keeps it.
std::string kept(std::string identity) {
  if (identity.size() >= CASCADE_META_DEVICE_BYTES) identity.resize(CASCADE_META_DEVICE_BYTES - 1);
  return identity;
}

Result<void> same_device(const VolumeConfig& volume, const std::string& path,
                         const std::string& then) {
  const std::string now = kept(device_identity(path));
  if (then.empty() || now.empty() || then == now) return {};
  return Error{
      Errc::refused,
      fmt::format("{} is another device than last time: it is '{}', it was '{}'; bring the "
                  "old one, or, if the content was moved, 'dmcascade create "
                  "--accept-device {}'",
                  path, now, then, volume.name)};
}

}  // namespace

void name_devices(const VolumeConfig& volume, const std::string& node, const meta::Place& place,
                  meta::Area& area) {
  area.device = kept(device_identity(volume.disk.at(node)));
  area.meta_device = volume.meta.empty() ? "" : kept(device_identity(volume.meta.at(node)));
  area.device_bytes = place.volume_bytes + (volume.meta.empty() ? place.area_bytes : 0);
}

Error about(const VolumeConfig& volume, const Error& error) {
  return Error{error.code, fmt::format("{}: {}", volume.name, error.text)};
}

Result<meta::Area> make_area(const VolumeConfig& volume, const meta::Place& place, bool force,
                             bool differs) {
  meta::Area area = meta::new_area(volume.uuid, place, now_ns());
  // The module marks what is new since the area was written last: everything.
  if (differs) area.volume_bytes = 0;
  name_devices(volume, volume.primary, place, area);
  if (auto made = meta::format_area(place, area, force); !made) return made.error();
  return area;
}

Result<void> same_devices(const VolumeConfig& volume, const std::string& node,
                          const meta::Area& area) {
  if (auto same = same_device(volume, volume.disk.at(node), area.device); !same) return same;
  return volume.meta.empty() ? Result<void>{}
                             : same_device(volume, volume.meta.at(node), area.meta_device);
}

Result<meta::Area> accept_devices(const VolumeConfig& volume, const meta::Place& place,
                                  meta::Area area) {
  name_devices(volume, volume.primary, place, area);
  area.written_ns = now_ns();
  if (auto written = meta::rewrite_super(place, area); !written) return written.error();
  return area;
}

Result<void> begin_from_here(const meta::Place& place, meta::Area area) {
  area.volume_bytes = 0;
  area.journal = {};
  area.numbered = false;
  area.clean = true;
  area.differs = 0;
  area.written_ns = now_ns();
  return meta::rewrite_super(place, area);
}

}  // namespace cascade
