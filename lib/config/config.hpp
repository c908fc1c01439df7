// SPDX-License-Identifier: GPL-2.0-or-later
//
// The configuration file: one TOML file, the same on all nodes. What a node does follows from
// where its name stands in it. Unknown keys are errors ("did you mean"), and every error names
// file, line and column and what to do.
//
//   version = 1
//   [node.p1]                              # any name of 1 to 31 characters [a-z0-9_-]
//   host    = "stor-a1"                    # optional; the host name that makes a machine this node
//   address = "10.1.0.11:7420"             # where this node listens, and is reached
//
//   [group.shop]                           # a consistency group
//   uuid       = "6b6f0c1e-..."
//   hub        = "h"
//   remote     = "r"                       # optional
//   send-order = "parallel"                # parallel | local-first
//   hub-ack    = "sync"                    # sync | memory-sync
//   ship       = "stored"                  # stored | received
//   remote-ack = "sync"                    # sync | memory-sync
//   ship-rate  = "50MiB"                   # to the remote, a second; optional
//   ship-rate-at = { "08:00-18:00" = "5MiB" }  # by the local time of the day; optional
//   ship-compress = "none"                 # none | lz4 | zstd
//   ship-congestion = "bbr"                # TCP's, as the kernel calls it; optional
//   fence-level = "data"                   # data: without the hub writes wait | never: a primary
//                                          # goes on alone once its lease has run out | status:
//                                          # once the hub says that it is behind | witness: as
//                                          # never, but once the remote has granted it
//   on-fence   = "suspend-io"              # suspend-io | io-error: they fail, not with never
//   lease      = "5s"                      # how long the hub's word holds; optional, at least
//                                          # three heartbeats
//   journal    = { h = "/dev/vg0/shop-journal", r = "/dev/vg0/shop-journal" }
//   undo       = { r = "/dev/vg0/shop-undo" }  # optional: lets copies go past a bracket that a
//                                          # journal can't hold, and back
//   on-journal-full = "suspend"            # suspend: the remote falls behind, and catches up by
//                                          # copies | block: writes wait | throttle: they are
//                                          # slowed down before, and wait then
//   apply-delay = "1h"                     # how old a write is before the remote applies it;
//                                          # optional
//   journal-warning = 80                   # percent that are used; optional
//   lag-warning = "5min"                   # of the remote; optional
//   journal-cache = "64MiB"                # of memory, for readers near the head; optional
//
//   [group.shop.volume.orders]
//   uuid      = "0b9c6f0e-..."
//   primary   = "p1"
//   disk      = { p1 = "/dev/vg0/orders", h = "/dev/vg0/orders", r = "/dev/vg0/orders" }
//   meta      = "internal"                 # metadata area: the end of the primary's disk, or a
//                                          # device of its own: { p1 = "/dev/vg0/orders-meta" }
//                                          # (journal, undo, disk and meta may have entries for
//                                          # nodes that take over such a role some day)
//   ring-size = "8MiB"                     # optional
//
//   [daemon]                               # optional, all optional
//   socket           = "/run/dmcascade/dmcascaded.sock"
//   heartbeat        = "1s"                # between frames of an idle session
//   session-timeout  = "10s"               # silence after which a session is given up
//   reconnect-min    = "100ms"
//   reconnect-max    = "5s"
#pragma once

#include "lib/base/codec.hpp"
#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"
#include "lib/config/ship_rate.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cascade {

struct Address {
  std::string host;  // literal IPv4 or IPv6 address, or a name that the resolver knows
  std::uint16_t port = 0;

  bool operator==(const Address&) const = default;
};

struct NodeConfig {
  std::string name;
  std::string host;  // empty: the node's name is compared with the host name
  Address address;

  bool operator==(const NodeConfig&) const = default;
};

enum class SendOrder { parallel, local_first };
enum class AckWhen { sync, memory_sync };
enum class ShipWhen { stored, received };
enum class FenceLevel { data, never, status, witness };
enum class OnFence { suspend_io, io_error };
enum class OnJournalFull { suspend, block, throttle };

struct VolumeConfig {
  std::string name;
  Uuid uuid{};
  std::string primary;                      // node name
  std::map<std::string, std::string> disk;  // node name -> backing device (or file) of the copy
  std::uint64_t ring_bytes = 8 * 1024 * 1024;
  // Node name -> device of the metadata area of whoever is primary; empty: the end of its disk.
  std::map<std::string, std::string> meta = {};

  bool operator==(const VolumeConfig&) const = default;
};

struct GroupConfig {
  std::string name;
  Uuid uuid{};
  std::string hub;
  std::string remote;  // empty: none
  SendOrder send_order = SendOrder::parallel;
  AckWhen hub_ack = AckWhen::sync;
  ShipWhen ship = ShipWhen::stored;
  AckWhen remote_ack = AckWhen::sync;
  FenceLevel fence_level = FenceLevel::data;
  OnFence on_fence = OnFence::suspend_io;
  std::chrono::milliseconds lease{};
  std::map<std::string, std::string> journal;    // node name -> device or file, if it keeps one
  std::map<std::string, std::string> undo = {};  // node name -> device or file
  std::uint64_t journal_cache_bytes = 64 * 1024 * 1024;
  ShipRate ship_rate = {};
  Codec ship_compress = Codec::none;
  std::string ship_congestion = {};  // as the kernel calls it; empty: its own choice
  OnJournalFull on_journal_full = OnJournalFull::suspend;
  std::chrono::milliseconds apply_delay{};  // of the remote
  std::uint64_t journal_warning_percent = 80;
  std::chrono::milliseconds lag_warning = std::chrono::minutes(5);
  std::vector<VolumeConfig> volumes;  // in file order

  /// Whether the node is hub or remote.
  bool keeps_journal(std::string_view node) const;
  /// Null if there is none.
  const VolumeConfig* volume(std::string_view name) const;
  const VolumeConfig* volume(const Uuid& uuid) const;
  /// Its name, or its UUID if it is not configured (any more).
  std::string name_of(const Uuid& volume) const;

  bool operator==(const GroupConfig&) const = default;
};

struct DaemonConfig {
  std::string socket = "/run/dmcascade/dmcascaded.sock";
  std::chrono::milliseconds heartbeat{1000};
  std::chrono::milliseconds session_timeout{10000};
  std::chrono::milliseconds reconnect_min{100};
  std::chrono::milliseconds reconnect_max{5000};

  bool operator==(const DaemonConfig&) const = default;
};

struct Config {
  std::vector<NodeConfig> nodes;
  std::vector<GroupConfig> groups;
  DaemonConfig daemon;

  const NodeConfig* node(std::string_view name) const;
  const GroupConfig* group(std::string_view name) const;
  const GroupConfig* group_of(const Uuid& uuid) const;
};

inline constexpr const char* default_config_path = "/etc/dmcascade/dmcascade.toml";

/// Parse `text`; `path` only names it in errors. Checks everything that can be checked without
/// touching a device: references between nodes, groups and volumes, unique names and UUIDs,
/// every volume's disk for primary, hub and remote, bounds. The first error is returned as
/// "path:line:column: what; what to do".
Result<Config> parse_config(std::string_view text, const std::string& path);
Result<Config> load_config(const std::string& path);

/// Which node this is: `wanted` if given (Errc::not_found with the list of nodes otherwise), else
/// the node whose host (or name) is `hostname`.
Result<std::string> find_this_node(const Config& config, const std::optional<std::string>& wanted,
                                   std::string_view hostname);

}  // namespace cascade
