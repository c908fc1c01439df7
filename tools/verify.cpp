// SPDX-License-Identifier: GPL-2.0-or-later
#include "tools/verify.hpp"

#include "lib/config/units.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {
namespace {

// The rest is in the JSON.
constexpr std::size_t ranges_shown = 4;

std::string ranges_text(const api::Verify::Copy& copy) {
  std::string out;
  for (std::size_t i = 0; i < std::min(copy.ranges.size(), ranges_shown); ++i)
    out += fmt::format("{}{} at {}", i == 0 ? ": " : ", ", human_bytes(copy.ranges[i].bytes),
                       copy.ranges[i].begin_bytes);
  return copy.ranges.size() > ranges_shown ? out + ", ..." : out;
}

std::string copy_text(const api::Verify::Copy& copy) {
  std::string out = fmt::format("{}: {} compared, ", copy.node, human_bytes(copy.compared_bytes));
  out += copy.differing_bytes == 0
             ? "no difference"
             : fmt::format("{} differ{}", human_bytes(copy.differing_bytes), ranges_text(copy));
  if (copy.repaired_bytes > 0)
    out += fmt::format("; {} differed, and was repaired", human_bytes(copy.repaired_bytes));
  if (copy.skipped_bytes > 0)
    out += fmt::format("; {} not: it was not consistent then", human_bytes(copy.skipped_bytes));
  return out;
}

std::string state_text(const api::Volume& volume) {
  const api::Verify& verify = *volume.verify;
  const auto read = fmt::format("{} to {} of {}", human_bytes(verify.from_bytes),
                                human_bytes(verify.next_bytes), human_bytes(volume.size_bytes));
  if (verify.state == "running") return "is compared, " + read;
  if (verify.state == "repairing") return "compared, " + read + "; what differs is written anew";
  if (verify.state == "waiting") return "is read; a copy has not come to its end yet";
  if (verify.state == "done") return "compared, " + read;
  return fmt::format("stopped, {}; --from {} goes on", read, verify.next_bytes);
}

}  // namespace

std::string verify_heading(const api::Volume& volume) {
  const api::Verify& verify = *volume.verify;
  if (verify.state == "copy") return volume.name + ": compared with its primary";
  std::string out = fmt::format("{}: {}, since {}", volume.name, state_text(volume), verify.since);
  if (verify.out_of_sync_bytes > 0)
    out += fmt::format("; {} left to the resync", human_bytes(verify.out_of_sync_bytes));
  if (verify.unreadable_bytes > 0)
    out += fmt::format("; {} of its own disk can't be read", human_bytes(verify.unreadable_bytes));
  return out;
}

std::string verify_lines(const api::Volume& volume, const std::string& indent) {
  const api::Verify& verify = *volume.verify;
  std::string out = indent + verify_heading(volume) + "\n";
  for (const auto& copy : verify.copies) out += fmt::format("{}  {}\n", indent, copy_text(copy));
  if (verify.doubtful_bytes > 0)
    out += fmt::format(
        "{}  {} differ on all copies: is it this disk that is wrong? Only with "
        "--force={} they are repaired\n",
        indent, human_bytes(verify.doubtful_bytes), api::force_primary_is_right);
  return out;
}

}  // namespace cascade
