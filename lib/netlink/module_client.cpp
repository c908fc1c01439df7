// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/netlink/module_client.hpp"

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include <cstring>

namespace cascade {
namespace {

struct FreeMessage {
  void operator()(nl_msg* message) const { nlmsg_free(message); }
};
using Message = std::unique_ptr<nl_msg, FreeMessage>;

Error netlink_error(int code) {
  const Errc kind = code == -NLE_OBJ_NOTFOUND || code == -NLE_NODEV ? Errc::not_found : Errc::io;
  return Error{kind, std::string("the dm-cascade module says: ") + nl_geterror(code)};
}

std::uint64_t u64(const nlattr* a) { return a == nullptr ? 0 : nla_get_u64(a); }
std::uint32_t u32(const nlattr* a) { return a == nullptr ? 0 : nla_get_u32(a); }

template <class Enum>
void set_enum(const nlattr* a, Enum& out) {
  if (a != nullptr) out = static_cast<Enum>(nla_get_u8(a));
}

Message request(int family, int flags, int command) {
  Message message(nlmsg_alloc());
  if (message != nullptr)
    genlmsg_put(message.get(), NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags,
                static_cast<std::uint8_t>(command), CASCADE_GENL_VERSION);
  return message;
}

int collect(nl_msg* message, void* out) {
  auto volume = parse_volume(message);
  if (volume) static_cast<std::vector<ModuleVolume>*>(out)->push_back(std::move(*volume));
  return NL_OK;
}

}  // namespace

void ModuleClient::Free::operator()(nl_sock* socket) const { nl_socket_free(socket); }

Result<ModuleVolume> parse_volume(nl_msg* message) {
  nlattr* a[CASCADE_A_MAX + 1];
  if (genlmsg_parse(nlmsg_hdr(message), 0, a, CASCADE_A_MAX, nullptr) < 0 ||
      a[CASCADE_A_VOLUME] == nullptr || nla_len(a[CASCADE_A_VOLUME]) != CASCADE_UUID_BYTES)
    return Error{Errc::version, "the dm-cascade module's answer can't be understood"};
  ModuleVolume v;
  std::memcpy(v.uuid.data, nla_data(a[CASCADE_A_VOLUME]), CASCADE_UUID_BYTES);
  if (a[CASCADE_A_NAME] != nullptr) v.name = nla_get_string(a[CASCADE_A_NAME]);
  set_enum(a[CASCADE_A_DAEMON], v.daemon);
  set_enum(a[CASCADE_A_LINK], v.link);
  set_enum(a[CASCADE_A_SEND_ORDER], v.send_order);
  set_enum(a[CASCADE_A_HUB_ACK], v.hub_ack);
  v.sectors = u64(a[CASCADE_A_SECTORS]);
  v.published = u64(a[CASCADE_A_PUBLISHED]);
  v.received = u64(a[CASCADE_A_RECEIVED]);
  v.stored = u64(a[CASCADE_A_STORED]);
  v.released = u64(a[CASCADE_A_RELEASED]);
  v.waiting = u32(a[CASCADE_A_WAITING]);
  v.deferred = u32(a[CASCADE_A_DEFERRED]);
  v.ring_bytes = u64(a[CASCADE_A_RING_BYTES]);
  v.ring_used = u64(a[CASCADE_A_RING_USED]);
  v.writes = u64(a[CASCADE_A_WRITES]);
  v.write_bytes = u64(a[CASCADE_A_WRITE_BYTES]);
  v.wakeups = u64(a[CASCADE_A_WAKEUPS]);
  v.doorbells = u64(a[CASCADE_A_DOORBELLS]);
  v.out_of_sync = u64(a[CASCADE_A_OUT_OF_SYNC]);
  v.marked = u64(a[CASCADE_A_MARKED]);
  v.resynced = u64(a[CASCADE_A_RESYNCED]);
  set_enum(a[CASCADE_A_RESYNC], v.resync);
  return v;
}

Result<ModuleClient> ModuleClient::open() {
  nl_sock* socket = nl_socket_alloc();
  if (socket == nullptr) return Error{Errc::io, "no memory for a netlink socket"};
  ModuleClient client(socket, 0);
  if (const int rc = genl_connect(socket); rc < 0) return netlink_error(rc);
  client.family_ = genl_ctrl_resolve(socket, CASCADE_GENL_NAME);
  if (client.family_ < 0)
    return Error{Errc::not_found, "the dm-cascade module is not loaded; run 'modprobe dm-cascade'"};
  return client;
}

Result<std::vector<ModuleVolume>> ModuleClient::ask(nl_msg* message) {
  std::vector<ModuleVolume> out;
  nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, collect, &out);
  if (const int rc = nl_send_auto(socket_.get(), message); rc < 0) return netlink_error(rc);
  const bool dump = (nlmsg_hdr(message)->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  const int rc = dump ? nl_recvmsgs_default(socket_.get()) : nl_wait_for_ack(socket_.get());
  if (rc < 0) return netlink_error(rc);
  return out;
}

Result<std::vector<ModuleVolume>> ModuleClient::list() {
  const Message message = request(family_, NLM_F_DUMP, CASCADE_CMD_GET);
  return ask(message.get());
}

Result<ModuleVolume> ModuleClient::get(const Uuid& volume) {
  const Message message = request(family_, 0, CASCADE_CMD_GET);
  nla_put(message.get(), CASCADE_A_VOLUME, CASCADE_UUID_BYTES, volume.data);
  auto found = ask(message.get());
  if (!found) return found.error();
  if (found->empty()) return Error{Errc::not_found, "no such volume in the module"};
  return found->front();
}

}  // namespace cascade
