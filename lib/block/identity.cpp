// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/block/identity.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <fstream>
#include <utility>

#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace cascade {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const auto first = line.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return line.substr(first, line.find_last_not_of(" \t") - first + 1);
}

namespace {

std::string named_by(const std::string& folder) {
  static constexpr std::array<std::pair<const char*, const char*>, 7> sources{{
      {"dm/uuid", "dm"},
      {"md/uuid", "md"},
      {"wwid", "wwid"},
      {"device/wwid", "wwid"},
      {"serial", "serial"},
      {"device/serial", "serial"},
      {"loop/backing_file", "loop"},
  }};
  for (const auto& [file, word] : sources)
    if (const auto value = first_line(folder + "/" + file); !value.empty())
      return fmt::format("{} {}", word, value);
  return {};
}

}  // namespace

std::string device_identity(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0 || !S_ISBLK(st.st_mode)) return {};
  const std::string folder =
      fmt::format("/sys/dev/block/{}:{}", major(st.st_rdev), minor(st.st_rdev));
  const std::string partition = first_line(folder + "/partition");
  if (partition.empty()) return named_by(folder);
  const std::string disk = named_by(folder + "/..");
  return disk.empty() ? disk : fmt::format("{} partition {}", disk, partition);
}

std::uint64_t identity_hash(const std::string& identity) {
  return identity.empty() ? 0 : XXH3_64bits(identity.data(), identity.size());
}

}  // namespace cascade
