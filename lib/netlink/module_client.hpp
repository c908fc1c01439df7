// SPDX-License-Identifier: GPL-2.0-or-later
//
// The module's generic netlink family: what volumes there are, and how they are. Blocking
// calls that the kernel answers at once.
#pragma once

#include "kmod/uapi/dm_cascade.h"
#include "lib/base/result.hpp"
#include "lib/base/uuid.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct nl_sock;
struct nl_msg;

namespace cascade {

/// What the module says of one volume; units as in kmod/uapi/dm_cascade.h.
struct ModuleVolume {
  Uuid uuid{};
  std::string name;
  std::uint64_t sectors = 0;
  cascade_daemon_state daemon = CASCADE_DAEMON_ABSENT;
  cascade_link_state link = CASCADE_LINK_DOWN;
  cascade_send_order send_order = CASCADE_SEND_PARALLEL;
  cascade_hub_ack hub_ack = CASCADE_ACK_SYNC;
  std::uint64_t published = 0, received = 0, stored = 0, released = 0;
  std::uint32_t waiting = 0, deferred = 0;
  std::uint64_t ring_bytes = 0, ring_used = 0;
  std::uint64_t writes = 0, write_bytes = 0, wakeups = 0, doorbells = 0;
  std::uint64_t out_of_sync = 0;  // bytes that have to be copied to the hub, in whole regions
  std::uint64_t resynced = 0;     // bytes read to be copied, since the ring began
  cascade_resync_state resync = CASCADE_RESYNC_NONE;
  std::uint64_t marked = 0;  // bytes that a crash would make so, those included
};

class ModuleClient {
 public:
  /// Errc::not_found if the module is not loaded.
  static Result<ModuleClient> open();

  Result<std::vector<ModuleVolume>> list();
  /// Errc::not_found if there is no such volume.
  Result<ModuleVolume> get(const Uuid& volume);

 private:
  struct Free {
    void operator()(nl_sock* socket) const;
  };
  ModuleClient(nl_sock* socket, int family) : socket_(socket), family_(family) {}
  Result<std::vector<ModuleVolume>> ask(nl_msg* message);

  std::unique_ptr<nl_sock, Free> socket_;
  int family_;
};

/// The attributes of one GET answer; for tests and event readers too.
Result<ModuleVolume> parse_volume(nl_msg* message);

}  // namespace cascade
