// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config/advice.hpp"

#include "lib/config/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>

namespace cascade {
namespace {

using Lines = std::vector<std::string>;
using std::chrono::seconds;

// A session of that timeout ends whenever a machine is busy or pauses for a moment.
constexpr seconds timeout_short{1};
// What depends on it (a takeover, a failover of the address) is made to wait that long.
constexpr seconds timeout_long{120};
constexpr seconds reconnect_long{60};

bool is_loopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    return (ntohl(in.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  }
  const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
  return address.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

using Resolved = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

/// @flags: AI_NUMERICHOST to take an address only, and ask nobody.
Resolved resolve(const std::string& host, int flags, int& error) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  return {error == 0 ? found : nullptr, &::freeaddrinfo};
}

bool is_address(const std::string& host) {
  int error = 0;
  return resolve(host, AI_NUMERICHOST, error) != nullptr;
}

bool is_loopback_word(const std::string& host) {
  int error = 0;
  const auto found = resolve(host, AI_NUMERICHOST, error);
  return host == "localhost" || (found && is_loopback(*found->ai_addr));
}

/// All of them on one machine is a trial; some of them is a mistake.
void of_addresses(const Config& config, Lines& out) {
  const auto local = [](const NodeConfig& node) { return is_loopback_word(node.address.host); };
  if (std::all_of(config.nodes.begin(), config.nodes.end(), local)) return;
  for (const NodeConfig& node : config.nodes)
    if (local(node))
      out.push_back(
          fmt::format("node {}: {} is an address of each machine for itself; write one "
                      "that the other nodes reach",
                      node.name, node.address.host));
}

void of_times(const DaemonConfig& daemon, Lines& out) {
  if (daemon.session_timeout < timeout_short)
    out.push_back(
        fmt::format("session-timeout: {} is so short that a busy machine ends sessions; "
                    "{} or more is usual",
                    human_duration(daemon.session_timeout), human_duration(seconds(5))));
  if (daemon.session_timeout > timeout_long)
    out.push_back(fmt::format("session-timeout: a node that is gone is noticed after {} only",
                              human_duration(daemon.session_timeout)));
  if (daemon.reconnect_max > reconnect_long)
    out.push_back(fmt::format("reconnect-max: a node that is back is found after up to {} only",
                              human_duration(daemon.reconnect_max)));
}

/// Every device or file of a node, with what it is for.
std::vector<std::pair<std::string, std::string>> devices_of(const Config& config,
                                                            const std::string& node) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto add = [&](const std::string& what, const std::map<std::string, std::string>& places) {
    if (const auto at = places.find(node); at != places.end()) out.emplace_back(at->second, what);
  };
  for (const GroupConfig& group : config.groups) {
    add("journal of group " + group.name, group.journal);
    add("undo of group " + group.name, group.undo);
    for (const VolumeConfig& volume : group.volumes) {
      add(fmt::format("volume {}/{}", group.name, volume.name), volume.disk);
      add(fmt::format("metadata of {}/{}", group.name, volume.name), volume.meta);
    }
  }
  return out;
}

/// Names that the kernel gives anew at each boot, in the order in which disks are found.
bool changes_at_boot(const std::string& path) {
  constexpr std::string_view sd = "/dev/sd";
  return path.starts_with(sd) && path.size() > sd.size() &&
         std::isalpha(static_cast<unsigned char>(path[sd.size()])) != 0;
}

void of_devices(const Config& config, Lines& out) {
  for (const NodeConfig& node : config.nodes)
    for (const auto& [path, what] : devices_of(config, node.name))
      if (changes_at_boot(path))
        out.push_back(
            fmt::format("{}: {} on {} may be another disk after the next boot; write a "
                        "name of /dev/disk/by-id or of LVM",
                        what, path, node.name));
}

void of_nodes(const Config& config, Lines& out) {
  std::set<std::string> used;
  for (const GroupConfig& group : config.groups) {
    used.insert({group.hub, group.remote});
    for (const VolumeConfig& volume : group.volumes) used.insert(volume.primary);
  }
  for (const NodeConfig& node : config.nodes)
    if (!used.contains(node.name))
      out.push_back(fmt::format("node {} has no part in any group", node.name));
}

void of_names_here(const Config& config, Lines& out) {
  for (const NodeConfig& node : config.nodes) {
    const std::string& host = node.address.host;
    if (is_address(host) || is_loopback_word(host)) continue;
    int error = 0;
    const auto found = resolve(host, AI_ADDRCONFIG, error);
    if (!found)
      out.push_back(fmt::format("node {}: {}: {}; it is asked for again by itself", node.name, host,
                                ::gai_strerror(error)));
    else if (is_loopback(*found->ai_addr))
      out.push_back(
          fmt::format("node {}: {} is this machine for itself, by its resolver; correct "
                      "/etc/hosts, or write an address",
                      node.name, host));
  }
}

/// What two paths have in common if they are one device or one file.
using Identity = std::pair<dev_t, ino_t>;
Identity identity_of(const struct stat& info) {
  return S_ISBLK(info.st_mode) ? Identity(info.st_rdev, 0) : Identity(info.st_dev, info.st_ino);
}

void of_devices_here(const Config& config, const std::string& node, Lines& out) {
  std::map<Identity, std::string> seen;
  for (const auto& [path, what] : devices_of(config, node)) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
      out.push_back(fmt::format("{}: {}: {}", what, path, std::strerror(errno)));
      continue;
    }
    const std::string here = fmt::format("{} ({})", what, path);
    const auto [first, inserted] = seen.emplace(identity_of(info), here);
    if (!inserted)
      out.push_back(
          fmt::format("{} and {} are the same device; each needs its own", first->second, here));
  }
}

}  // namespace

std::vector<std::string> advice_on(const Config& config) {
  Lines out;
  of_addresses(config, out);
  of_times(config.daemon, out);
  of_nodes(config, out);
  of_devices(config, out);
  return out;
}

std::vector<std::string> advice_here(const Config& config, const std::string& node) {
  Lines out;
  of_names_here(config, out);
  of_devices_here(config, node, out);
  return out;
}

}  // namespace cascade
