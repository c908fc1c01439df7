// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config/config.hpp"

#include "lib/base/limits.hpp"
#include "lib/config/reader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/un.h>

namespace cascade {
namespace {

constexpr std::uint64_t MiB = 1024 * 1024;
constexpr std::uint64_t GiB = 1024 * MiB;
constexpr std::chrono::milliseconds lease_default{5000};
constexpr std::chrono::minutes lease_max{10};
constexpr std::chrono::minutes time_max{60};
constexpr std::chrono::minutes lag_max{30 * 24 * 60};
constexpr std::chrono::minutes apply_delay_max{7 * 24 * 60};
// Below, timers and scheduling of an ordinary machine are not exact enough for it to mean anything.
constexpr std::chrono::milliseconds heartbeat_min{20};
constexpr std::chrono::milliseconds reconnect_min{10};
constexpr std::size_t socket_path_max = sizeof(sockaddr_un::sun_path) - 1;

const std::string& host_name_of(const NodeConfig& node) {
  return node.host.empty() ? node.name : node.host;
}

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= limits::node_name_max &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
         });
}

void check_name(TableReader& reader, const char* what, const std::string& name) {
  if (!valid_name(name))
    reader.fail_here(fmt::format("{} name '{}' must be 1 to {} characters of a-z, 0-9, _ and -",
                                 what, name, limits::node_name_max));
}

Address read_address(TableReader& reader, const std::string& text) {
  const auto colon = text.rfind(':');
  if (!text.starts_with('[') && std::count(text.begin(), text.end(), ':') > 1)
    reader.fail("address", fmt::format("where the port begins in '{}' is not clear; write an IPv6 "
                                       "address in brackets, like \"[2001:db8::11]:7420\"",
                                       text));
  Address address;
  if (colon != std::string::npos) {
    address.host = text.substr(0, colon);
    const char* end = text.data() + text.size();
    const auto [rest, ec] = std::from_chars(text.data() + colon + 1, end, address.port);
    if (ec != std::errc{} || rest != end) address.port = 0;
  }
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']')
    address.host = address.host.substr(1, address.host.size() - 2);
  if (address.host.empty() || address.port == 0)
    reader.fail("address", fmt::format("'{}' is not an address; write HOST:PORT, like "
                                       "\"10.1.0.11:7420\"",
                                       text));
  return address;
}

NodeConfig read_node(const std::string& name, TableReader& reader) {
  check_name(reader, "node", name);
  NodeConfig node;
  node.name = name;
  node.host = reader.optional_text("host").value_or("");
  node.address = read_address(reader, reader.text("address"));
  return node;
}

/// The nodes that keep something of a group: names must be known, roles distinct.
void check_node(const Config& config, TableReader& reader, const char* key,
                const std::string& name) {
  if (config.node(name) != nullptr) return;
  std::vector<std::string> names;
  for (const NodeConfig& node : config.nodes) names.push_back(node.name);
  reader.fail(key, fmt::format("'{}' names node '{}', which is not there; nodes: {}", key, name,
                               fmt::join(names, ", ")));
}

/// Entries for nodes that are there. Those that keep nothing now may once roles are swapped.
void check_some_places(const Config& config, TableReader& reader, const char* key,
                       const std::map<std::string, std::string>& places) {
  for (const auto& [name, path] : places) {
    check_node(config, reader, key, name);
    if (path.empty() || path.front() != '/')
      reader.fail(
          key, fmt::format("'{}' of {} is '{}'; write a path that begins with /", key, name, path));
  }
}

/// And one for each of `needed`.
void check_places(const Config& config, TableReader& reader, const char* key,
                  const std::map<std::string, std::string>& places,
                  const std::vector<std::string>& needed) {
  check_some_places(config, reader, key, places);
  for (const std::string& name : needed)
    if (!places.contains(name))
      reader.fail(
          key, fmt::format("'{}' lacks an entry for {}; add {} = \"/dev/...\"", key, name, name));
}

/// Where a primary keeps its metadata area; empty: at the end of its disk.
std::map<std::string, std::string> read_meta(const Config& config, const VolumeConfig& volume,
                                             TableReader& reader) {
  if (!reader.is_table("meta")) {
    if (reader.text("meta") != "internal")
      reader.fail("meta",
                  fmt::format("'meta' must be \"internal\" or a table like {{ {} = \"/dev/...\" }}",
                              volume.primary));
    return {};
  }
  auto places = reader.texts("meta");
  check_places(config, reader, "meta", places, {volume.primary});
  return places;
}

VolumeConfig read_volume(const Config& config, const GroupConfig& group, const std::string& name,
                         TableReader& reader) {
  check_name(reader, "volume", name);
  VolumeConfig volume;
  volume.name = name;
  volume.uuid = reader.uuid("uuid");
  volume.primary = reader.text("primary");
  check_node(config, reader, "primary", volume.primary);
  if (volume.primary == group.hub || volume.primary == group.remote)
    reader.fail("primary",
                fmt::format("{} is the {} of the group; a volume's primary must be "
                            "another node",
                            volume.primary, volume.primary == group.hub ? "hub" : "remote"));
  volume.disk = reader.texts("disk");
  std::vector<std::string> needed{volume.primary, group.hub};
  if (!group.remote.empty()) needed.push_back(group.remote);
  check_places(config, reader, "disk", volume.disk, needed);
  volume.meta = read_meta(config, volume, reader);
  volume.ring_bytes = reader.size("ring-size", volume.ring_bytes, MiB, 64 * MiB);
  if ((volume.ring_bytes & (volume.ring_bytes - 1)) != 0)
    reader.fail("ring-size", "'ring-size' must be a power of two, like \"8MiB\"");
  return volume;
}

Rate rate_of(TableReader& reader, const char* key, const std::string& text) {
  const auto rate = parse_rate(text);
  const bool tiny = rate && *rate && **rate > 0 && **rate < ship_rate_min;
  if (!rate || tiny)
    reader.fail(key, fmt::format("'{}' is '{}'; write bytes a second like \"5MiB\", at "
                                 "least 1KiB, or \"unlimited\", or 0",
                                 key, text));
  return *rate;
}

ShipRate read_ship_rate(TableReader& reader) {
  ShipRate out;
  if (const auto usual = reader.optional_text("ship-rate"))
    out.usual = rate_of(reader, "ship-rate", *usual);
  const char* key = "ship-rate-at";
  std::vector<std::string> names(minutes_a_day);  // of the part that each minute is in
  for (const auto& [name, rate] : reader.texts(key)) {
    auto window = parse_window(name);
    if (!window)
      reader.fail(key, fmt::format("'{}' has '{}'; write a part of the day like "
                                   "\"08:00-18:00\" = \"5MiB\"",
                                   key, name));
    window->rate = rate_of(reader, key, rate);
    for (std::size_t minute = 0; minute < names.size(); ++minute) {
      if (!window->holds(static_cast<int>(minute))) continue;
      if (!names[minute].empty())
        reader.fail(key, fmt::format("'{}': {} and {} overlap", key, names[minute], name));
      names[minute] = name;
    }
    out.windows.push_back(*window);
  }
  return out;
}

std::string read_congestion(TableReader& reader) {
  const std::string name = reader.optional_text("ship-congestion").value_or("");
  if (!name.empty() && (!valid_name(name) || name.size() >= 16))  // TCP_CA_NAME_MAX
    reader.fail("ship-congestion",
                fmt::format("'ship-congestion' is '{}'; write a name that the kernel has for it, "
                            "like \"bbr\"",
                            name));
  return name;
}

GroupConfig read_group(const Config& config, const std::string& name, TableReader& reader) {
  check_name(reader, "group", name);
  GroupConfig group;
  group.name = name;
  group.uuid = reader.uuid("uuid");
  group.hub = reader.text("hub");
  check_node(config, reader, "hub", group.hub);
  group.remote = reader.optional_text("remote").value_or("");
  if (!group.remote.empty()) check_node(config, reader, "remote", group.remote);
  if (group.remote == group.hub)
    reader.fail("remote",
                fmt::format("hub and remote are both {}; they must be different nodes", group.hub));
  group.send_order = static_cast<SendOrder>(reader.word("send-order", {"parallel", "local-first"}));
  group.hub_ack = static_cast<AckWhen>(reader.word("hub-ack", {"sync", "memory-sync"}));
  group.ship = static_cast<ShipWhen>(reader.word("ship", {"stored", "received"}));
  group.remote_ack = static_cast<AckWhen>(reader.word("remote-ack", {"sync", "memory-sync"}));
  group.ship_rate = read_ship_rate(reader);
  group.ship_congestion = read_congestion(reader);
  group.ship_compress = static_cast<Codec>(reader.word("ship-compress", {"none", "lz4", "zstd"}));
  group.fence_level =
      static_cast<FenceLevel>(reader.word("fence-level", {"data", "never", "status", "witness"}));
  if (group.fence_level == FenceLevel::witness && group.remote.empty())
    reader.fail("fence-level",
                fmt::format("the witness of group {} is its remote, and it has none; add one, or "
                            "choose data, never or status",
                            name));
  group.on_fence = static_cast<OnFence>(reader.word("on-fence", {"suspend-io", "io-error"}));
  group.lease = reader.duration("lease", group.lease, heartbeat_min, lease_max);
  group.journal = reader.texts("journal");
  std::vector<std::string> needed{group.hub};
  if (!group.remote.empty()) needed.push_back(group.remote);
  check_places(config, reader, "journal", group.journal, needed);
  group.undo = reader.texts("undo");
  check_some_places(config, reader, "undo", group.undo);
  group.on_journal_full =
      static_cast<OnJournalFull>(reader.word("on-journal-full", {"suspend", "block", "throttle"}));
  group.apply_delay = reader.duration("apply-delay", group.apply_delay,
                                      std::chrono::milliseconds(0), apply_delay_max);
  group.journal_warning_percent = reader.percent("journal-warning", group.journal_warning_percent);
  group.lag_warning =
      reader.duration("lag-warning", group.lag_warning, std::chrono::seconds(1), lag_max);
  group.journal_cache_bytes =
      reader.size("journal-cache", group.journal_cache_bytes, 16 * MiB, 64 * GiB);
  reader.tables("volume", [&](const std::string& volume, TableReader& table) {
    group.volumes.push_back(read_volume(config, group, volume, table));
  });
  if (group.volumes.empty())
    reader.fail_here(fmt::format("group {} has no volume; add [group.{}.volume.NAME]", name, name));
  if (group.volumes.size() > limits::group_volumes_max)
    reader.fail_here(fmt::format("group {} has {} volumes; at most {} are possible", name,
                                 group.volumes.size(), limits::group_volumes_max));
  return group;
}

void read_daemon(TableReader& reader, DaemonConfig& daemon) {
  daemon.socket = reader.optional_text("socket").value_or(daemon.socket);
  if (!daemon.socket.starts_with('/') || daemon.socket.size() > socket_path_max)
    reader.fail("socket", fmt::format("'socket' must be a path that begins with /, of at most {} "
                                      "characters",
                                      socket_path_max));
  daemon.heartbeat = reader.duration("heartbeat", daemon.heartbeat, heartbeat_min, time_max);
  daemon.session_timeout =
      reader.duration("session-timeout", daemon.session_timeout, heartbeat_min, time_max);
  daemon.reconnect_min =
      reader.duration("reconnect-min", daemon.reconnect_min, reconnect_min, time_max);
  daemon.reconnect_max =
      reader.duration("reconnect-max", daemon.reconnect_max, reconnect_min, time_max);
  if (daemon.session_timeout < 2 * daemon.heartbeat)
    reader.fail("session-timeout", "'session-timeout' must be at least twice 'heartbeat'");
  if (daemon.reconnect_max < daemon.reconnect_min)
    reader.fail("reconnect-max", "'reconnect-max' must not be below 'reconnect-min'");
  reader.finish();
}

/// A lease outlives the loss of a heartbeat or two, and ends in a time that a writer waits.
void settle_leases(Config& config, TableReader& root) {
  const auto least = 3 * config.daemon.heartbeat;
  for (GroupConfig& group : config.groups) {
    if (group.lease == group.lease.zero()) group.lease = std::max(least, lease_default);
    if (group.lease < least || group.lease > lease_max)
      root.fail_here(
          fmt::format("group {}: 'lease' must be at least three times 'heartbeat', and "
                      "at most {} s",
                      group.name, std::chrono::seconds(lease_max).count()));
  }
}

/// As it is compared: the same file may be written in several ways.
std::string device_on(const std::string& path, const std::string& node) {
  return fmt::format("device {} on {}", std::filesystem::path(path).lexically_normal().string(),
                     node);
}

/// No machine, address, UUID, volume name or device may stand twice.
void check_unique(const Config& config, TableReader& root) {
  std::map<std::string, std::string> seen;
  const auto once = [&](const std::string& what, const std::string& where) {
    const auto [first, inserted] = seen.emplace(what, where);
    if (!inserted)
      root.fail_here(fmt::format("{} and {} have the same {}; each needs its own", first->second,
                                 where, what));
  };
  for (const NodeConfig& node : config.nodes) {
    once("host name " + host_name_of(node), "node " + node.name);
    once(fmt::format("address {} port {}", node.address.host, node.address.port),
         "node " + node.name);
  }
  for (const GroupConfig& group : config.groups) {
    once("UUID " + to_text(group.uuid), "group " + group.name);
    for (const auto& [node, path] : group.journal)
      once(device_on(path, node), "journal of group " + group.name);
    for (const auto& [node, path] : group.undo)
      once(device_on(path, node), "undo of group " + group.name);
    for (const VolumeConfig& volume : group.volumes) {
      const std::string name = fmt::format("volume {}/{}", group.name, volume.name);
      once("UUID " + to_text(volume.uuid), name);
      once("volume name " + volume.name, name);
      for (const auto& [node, path] : volume.disk) once(device_on(path, node), name);
      for (const auto& [node, path] : volume.meta)
        once(device_on(path, node), "metadata of " + name);
    }
  }
}

Config read_config(const toml::table& table, const std::string& path) {
  Config config;
  TableReader root(table, "", path);
  if (root.integer("version") != 1) root.fail("version", "'version' must be 1");
  root.tables("node", [&](const std::string& name, TableReader& reader) {
    config.nodes.push_back(read_node(name, reader));
  });
  root.tables("group", [&](const std::string& name, TableReader& reader) {
    config.groups.push_back(read_group(config, name, reader));
  });
  if (auto daemon = root.optional_table("daemon")) read_daemon(*daemon, config.daemon);
  root.finish();
  if (config.groups.empty()) root.fail_here("there is no group; add [group.NAME]");
  check_unique(config, root);
  settle_leases(config, root);
  return config;
}

/// Names and values are shown as they stand in the file, and may hold anything.
Error wrong(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  return Error{Errc::invalid, std::move(text)};
}

}  // namespace

bool GroupConfig::keeps_journal(std::string_view node) const {
  return node == hub || (!remote.empty() && node == remote);
}

const VolumeConfig* GroupConfig::volume(std::string_view wanted) const {
  for (const VolumeConfig& volume : volumes)
    if (volume.name == wanted) return &volume;
  return nullptr;
}

const VolumeConfig* GroupConfig::volume(const Uuid& wanted) const {
  for (const VolumeConfig& volume : volumes)
    if (volume.uuid == wanted) return &volume;
  return nullptr;
}

std::string GroupConfig::name_of(const Uuid& wanted) const {
  const VolumeConfig* found = volume(wanted);
  return found != nullptr ? found->name : to_text(wanted);
}

const NodeConfig* Config::node(std::string_view name) const {
  for (const NodeConfig& node : nodes)
    if (node.name == name) return &node;
  return nullptr;
}

const GroupConfig* Config::group(std::string_view name) const {
  for (const GroupConfig& group : groups)
    if (group.name == name) return &group;
  return nullptr;
}

const GroupConfig* Config::group_of(const Uuid& uuid) const {
  for (const GroupConfig& group : groups)
    if (group.uuid == uuid) return &group;
  return nullptr;
}

Result<Config> parse_config(std::string_view text, const std::string& path) {
  try {
    return read_config(toml::parse(text, path), path);
  } catch (const toml::parse_error& error) {
    const auto& at = error.source().begin;
    return wrong(fmt::format("{}:{}:{}: {}", path, at.line, at.column, error.description()));
  } catch (const ConfigError& error) {
    return wrong(error.text);
  }
}

Result<Config> load_config(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (file) text << file.rdbuf();
  if (!file)
    return Error{Errc::not_found,
                 fmt::format("{}: {}; write it, or name another file with --config", path,
                             std::strerror(errno))};
  return parse_config(text.view(), path);
}

Result<std::string> find_this_node(const Config& config, const std::optional<std::string>& wanted,
                                   std::string_view hostname) {
  std::vector<std::string> names;
  for (const NodeConfig& node : config.nodes) {
    names.push_back(node.name);
    if (wanted ? node.name == *wanted : host_name_of(node) == hostname) return node.name;
  }
  return Error{Errc::not_found,
               wanted ? fmt::format("no node '{}' in the configuration; nodes: {}", *wanted,
                                    fmt::join(names, ", "))
                      : fmt::format("no node has the host name '{}'; set 'host' in the "
                                    "configuration or use --node; nodes: {}",
                                    hostname, fmt::join(names, ", "))};
}

}  // namespace cascade
