// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/site.hpp"

#include "daemon/io/loop.hpp"
#include "daemon/keeper.hpp"
#include "daemon/os/disk.hpp"
#include "daemon/os/ring.hpp"
#include "daemon/os/thread_call.hpp"
#include "daemon/os/worker.hpp"
#include "daemon/report/log.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <thread>

namespace cascade {
namespace {

using report::Level;

// Between tries to listen, and after a group was ended by an error of this daemon's own.
constexpr std::chrono::seconds listen_pause{2};
constexpr std::chrono::seconds rebirth_pause{10};

// How long a group's thread may take to answer: for status, and for what somebody asks it to do.
constexpr std::chrono::seconds status_time_max{2};
constexpr std::chrono::seconds command_time_max{8};

/// Hosts of the configured nodes; those given by name can't be told by a connection's address.
std::set<std::string> literal_hosts(const Config& config) {
  std::set<std::string> hosts;
  for (const NodeConfig& node : config.nodes) hosts.insert(node.address.host);
  return hosts;
}

/// Whether a group would do something else on this node with the one than with the other.
bool is_other(const GroupConfig& before, const Config& old, const GroupConfig& now,
              const Config& config) {
  if (before != now) return true;
  DaemonConfig times = old.daemon;
  times.socket = config.daemon.socket;
  if (times != config.daemon) return true;
  const auto moved = [&](const std::string& node) {
    return !node.empty() && *old.node(node) != *config.node(node);
  };
  return moved(now.hub) || moved(now.remote) ||
         std::any_of(now.volumes.begin(), now.volumes.end(),
                     [&](const VolumeConfig& volume) { return moved(volume.primary); });
}

std::string text_of(const Address& address) {
  return fmt::format("{}:{}", address.host, address.port);
}

}  // namespace

/// The event loop and the thread of one group.
struct Site::Shard {
  Shard(const Config& config, const GroupConfig& group, const std::string& node)
      : clock(io.get_executor()),
        net(io.get_executor(), config.daemon.session_timeout),
        rings(io.get_executor()),
        aio(os::AioContext::create(io)),
        keeper({io.get_executor(), clock, net, *aio, rings, worker}, config, group, node),
        crew(io.get_executor()) {
    crew.add(live());
  }
  ~Shard() {
    worker.join();
    io.abandon();
  }

  Task<> live() {
    co_await keeper.run();
    aio->close();
  }

  Loop io;
  os::SystemClock clock;
  os::TcpNet net;
  os::KernelRings rings;
  std::unique_ptr<os::AioContext> aio;
  os::ThreadWorker worker;
  GroupKeeper keeper;
  Crew crew;
};

/// A group of the configuration, and what runs of it.
struct Site::Slot {
  Slot(ConfigPtr with, const GroupConfig& g, const Executor& executor, Clock& c)
      : config(std::move(with)),
        group(&g),
        clock(c),
        conditions(g.name),
        ended(executor),
        timer(c.timer()) {}
  ~Slot() { join(); }

  void join() {
    if (thread.joinable()) thread.join();
  }

  /// On the group's thread. An exception there is a bug, or memory that ran out: it ends this
  /// group, whose state can't be trusted any more, and no other. Its journal is as after a crash.
  static std::string serve(Shard& shard) {
    try {
      shard.io.run();
    } catch (const std::exception& error) {
      return error.what();
    }
    return {};
  }

  api::Group status_of_failed(const std::string& why) {
    api::Group out = last;
    out.name = group->name;
    out.uuid = to_text(group->uuid);
    if (!out.journal) out.journal.emplace();
    out.journal->state = "failed";
    out.journal->reason = why;
    out.journal->failure = api::word(Errc::refused);
    out.conditions = find_conditions(out);
    conditions.update(out.conditions, clock.realtime_ns());
    return out;
  }

  /// The configuration that it is to run with from its next beginning on.
  void take_next() {
    if (!next) return;
    group = next->group_of(group->uuid);
    config = std::move(next);
  }

  ConfigPtr config;          // that it runs with
  const GroupConfig* group;  // of it
  ConfigPtr next;            // that it runs with as soon as it has ended; null: the same
  bool retired = false;      // it is not in the configuration any more
  Clock& clock;
  ConditionLog conditions;  // of a group that can't say so itself
  std::unique_ptr<Shard> shard;
  std::thread thread;
  bool over = false;             // the thread has nothing more to do
  std::optional<Error> failure;  // why there is no shard
  api::Group last;               // as it said last
  Signal ended;
  std::unique_ptr<Timer> timer;
};

Site::Site(asio::io_context& io, ConfigPtr config, std::string node)
    : io_(io),
      config_(std::move(config)),
      node_(std::move(node)),
      clock_(io.get_executor()),
      net_(io.get_executor(), config_->daemon.session_timeout),
      listen_timer_(clock_.timer()),
      condition_timer_(clock_.timer()),
      door_(io.get_executor(), clock_, literal_hosts(*config_),
            [this](auto& stream, auto& hello) { return hand_over(stream, hello); }),
      crew_(io.get_executor()) {}

Site::~Site() = default;

bool Site::listens() const {
  return std::any_of(config_->groups.begin(), config_->groups.end(),
                     [this](const GroupConfig& g) { return g.hub == node_ || g.remote == node_; });
}

void Site::start() {
  add_groups();
  listen_as_configured();
  crew_.add(watch_conditions());
}

void Site::add_groups() {
  for (const GroupConfig& group : config_->groups) {
    if (!GroupNode::concerns(group, node_) || find(group.uuid)) continue;
    slots_.push_back(std::make_shared<Slot>(config_, group, io_.get_executor(), clock_));
    crew_.add(keep(slots_.back()));
  }
}

Task<> Site::stop() {
  stopping_ = true;
  listen_timer_->cancel();
  condition_timer_->cancel();
  if (listener_) listener_->close();
  for (auto& slot : slots_) stop_running(*slot);
  co_await crew_.join();
}

void Site::stop_running(Slot& slot) {
  slot.timer->cancel();
  if (slot.shard) asio::post(slot.shard->io, [keeper = &slot.shard->keeper] { keeper->stop(); });
}

// ---- another configuration

/// What becomes of a group with another configuration.
Site::Verdict Site::verdict_on(const Slot& slot, const Config& config) const {
  const GroupConfig* now = config.group_of(slot.group->uuid);
  if (now == nullptr || !GroupNode::concerns(*now, node_)) return Verdict::ends;
  const Config& before = slot.next ? *slot.next : *slot.config;
  const GroupConfig& was = *before.group_of(slot.group->uuid);
  return is_other(was, before, *now, config) ? Verdict::begins_anew : Verdict::goes_on;
}

std::vector<std::string> Site::changes(const Config& config) const {
  std::vector<std::string> out;
  for (const SlotPtr& slot : slots_) {
    if (slot->retired) continue;
    const Verdict verdict = verdict_on(*slot, config);
    if (verdict == Verdict::ends)
      out.push_back(fmt::format("group {}: ends here", slot->group->name));
    if (verdict == Verdict::begins_anew)
      out.push_back(fmt::format("group {}: begins anew with what the file says",
                                config.group_of(slot->group->uuid)->name));
  }
  for (const GroupConfig& group : config.groups)
    if (GroupNode::concerns(group, node_) && !find(group.uuid))
      out.push_back(fmt::format("group {}: begins here", group.name));
  const Address &was = config_->node(node_)->address, &now = config.node(node_)->address;
  if (was != now)
    out.push_back(fmt::format("listens on {} instead of {}", text_of(now), text_of(was)));
  if (config.daemon.socket != config_->daemon.socket)
    out.push_back(fmt::format("the control socket stays {} until dmcascaded is restarted",
                              config_->daemon.socket));
  return out;
}

std::vector<std::string> Site::reload(ConfigPtr config) {
  const std::vector<std::string> out = changes(*config);
  for (const SlotPtr& slot : slots_) {
    const Verdict verdict = verdict_on(*slot, *config);
    if (verdict == Verdict::goes_on && !slot->retired) continue;
    slot->retired = verdict == Verdict::ends;
    slot->next = slot->retired ? nullptr : config;
    stop_running(*slot);
  }
  config_ = std::move(config);
  net_.set_silence_max(config_->daemon.session_timeout);
  door_.know(literal_hosts(*config_));
  add_groups();
  listen_as_configured();
  return out;
}

// ---- groups

/// What its thread can't have, descriptors or memory, comes as an exception.
void Site::begin(Slot& slot) {
  const auto end = [&slot](const std::string& why) {
    if (!why.empty()) slot.failure = Error{Errc::io, why};
    slot.over = true;
    slot.ended.notify();
  };
  slot.failure.reset();
  slot.over = false;
  try {
    slot.take_next();
    slot.shard = std::make_unique<Shard>(*slot.config, *slot.group, node_);
    slot.thread = std::thread([this, &slot, end] {
      const std::string why = Slot::serve(*slot.shard);
      asio::post(io_, [end, why] { end(why); });
    });
  } catch (const std::exception& error) {
    end(error.what());
  }
}

/// For ever: what an error inside this daemon has ended begins anew, from its disks.
Task<> Site::keep(SlotPtr slot) {
  for (;;) {
    begin(*slot);
    while (!slot->over) co_await slot->ended.wait();
    slot->join();
    slot->shard.reset();  // its sessions end at once: no peer has to find out by silence
    if (stopping_ || slot->retired) break;
    if (slot->next) continue;
    if (!slot->failure) break;
    slot->failure->text = fmt::format(
        "group {} was ended by an error inside this daemon ({}); it begins anew in {} "
        "s. If it comes again, report it",
        slot->group->name, slot->failure->text, rebirth_pause.count());
    report::log(Level::error, slot->group->name, slot->failure->text);
    co_await slot->timer->sleep(rebirth_pause);
    if (stopping_ || slot->retired) break;
  }
  std::erase(slots_, slot);
}

Site::SlotPtr Site::find(const Uuid& group) const {
  for (const SlotPtr& slot : slots_)
    if (slot->group->uuid == group) return slot;
  return nullptr;
}

Task<api::Group> Site::status_of(SlotPtr slot) {
  if (!slot->shard)
    co_return slot->status_of_failed(slot->failure ? slot->failure->text : "it ends");
  // Named, for g++ 12; see thread_call.hpp.
  const auto call = [keeper = &slot->shard->keeper] { return keeper->status(); };
  auto answer = co_await os::call_on<api::Group>(
      io_.get_executor(), clock_, slot->shard->io.get_executor(), status_time_max, call);
  if (!answer)
    co_return slot->status_of_failed(
        fmt::format("its thread has not answered for {} s: a device of it hangs, or a file system "
                    "is frozen; what follows is as it was before",
                    status_time_max.count()));
  std::vector<api::Condition> none;
  slot->conditions.update(none, clock_.realtime_ns());
  slot->last = *answer;
  co_return std::move(*answer);
}

Task<Result<void>> Site::tell(std::string group, std::function<Result<void>(GroupNode&)> what) {
  const GroupConfig* config = config_->group(group);
  const SlotPtr slot = config == nullptr ? nullptr : find(config->uuid);
  if (slot == nullptr)
    co_return Error{Errc::not_found, fmt::format("{} takes no part in a group {}", node_, group)};
  if (!slot->shard) co_return slot->failure.value_or(Error{Errc::closed, "it ends"});
  const auto call = [keeper = &slot->shard->keeper, what]() -> Result<void> {
    const auto node = keeper->node();
    if (!node) return node.error();
    return what(**node);
  };
  const auto answer = co_await os::call_on<Result<void>>(
      io_.get_executor(), clock_, slot->shard->io.get_executor(), command_time_max, call);
  if (!answer)
    co_return Error{Errc::closed,
                    fmt::format("group {} does not answer: a device of it hangs; it may still do "
                                "what was asked",
                                group)};
  co_return *answer;
}

// ---- sessions

Task<> Site::listen() {
  while (!stopping_ && listens()) {
    listens_at_ = config_->node(node_)->address;
    listens_with_ = config_->daemon.session_timeout;
    auto listener = co_await net_.listen(listens_at_);
    if (stopping_) co_return;
    if (listens_otherwise()) continue;
    if (listener) {
      not_listening_.reset();
      listener_ = std::move(*listener);
      co_await door_.run(*listener_);
      listener_.reset();
      continue;
    }
    not_listening_ = listener.error();
    co_await listen_timer_->sleep(listen_pause);
  }
  not_listening_.reset();
  listening_ = false;
}

void Site::listen_as_configured() {
  if (!listening_ && listens()) {
    listening_ = true;
    crew_.add(listen());
  } else if (listening_ && listens_otherwise()) {
    listen_timer_->cancel();
    if (listener_) listener_->close();
  }
}

/// Than the configuration says now.
bool Site::listens_otherwise() const {
  return !listens() || listens_at_ != config_->node(node_)->address ||
         listens_with_ != config_->daemon.session_timeout;
}

/// To the thread of its group.
Result<void> Site::hand_over(std::unique_ptr<Stream>& stream, Hello& hello) {
  const SlotPtr slot = find(hello.group);
  if (slot == nullptr || slot->retired)
    return Error{Errc::refused,
                 fmt::format("{} takes no part in group {}; compare the configuration files", node_,
                             to_text(hello.group))};
  if (!slot->shard) return slot->failure.value_or(Error{Errc::refused, "the group is ending"});
  auto adopted = slot->shard->net.adopt(std::move(stream));
  if (!adopted) return {};  // it was closed while its hello arrived
  auto moved = std::move(*adopted);
  asio::post(slot->shard->io,
             [keeper = &slot->shard->keeper, moved = std::move(moved),
              h = std::move(hello)]() mutable { keeper->accept(std::move(moved), std::move(h)); });
  return {};
}

// ---- how it is

Task<api::StatusReport> Site::status() {
  api::StatusReport report;
  report.version = CASCADE_VERSION;
  report.time = report::rfc3339(clock_.realtime_ns());
  report.node = node_;
  look_at_conditions(report);
  const std::vector<SlotPtr> slots = slots_;  // they may come and go meanwhile
  for (const SlotPtr& slot : slots) {
    if (!slot->retired) report.groups.push_back(co_await status_of(slot));
  }
  co_return report;
}

void Site::look_at_conditions(api::StatusReport& report) {
  report.listener = listener_status();
  report.conditions = find_conditions(report);
  conditions_.update(report.conditions, clock_.realtime_ns());
}

/// So that each is logged when it comes and goes, whether anybody asks or not.
Task<> Site::watch_conditions() {
  while (!stopping_) {
    api::StatusReport report;
    look_at_conditions(report);
    co_await condition_timer_->sleep(condition_interval);
  }
}

std::optional<api::Listener> Site::listener_status() const {
  if (!listens()) return std::nullopt;
  const Address& address = config_->node(node_)->address;
  api::Listener out;
  out.address = text_of(address);
  out.state = listener_ ? "listening" : not_listening_ ? "down" : "starting";
  if (not_listening_) out.reason = not_listening_->text;
  if (const auto trouble = door_.trouble(); trouble && listener_) out.reason = trouble->text;
  out.loopback = listener_ && listener_->is_loopback() && others_are_elsewhere();
  return out;
}

/// Whether some other node has an address that is not of this machine for itself.
bool Site::others_are_elsewhere() const {
  return std::any_of(config_->nodes.begin(), config_->nodes.end(), [this](const NodeConfig& node) {
    const std::string& host = node.address.host;
    return node.name != node_ && !host.starts_with("127.") && host != "::1" && host != "localhost";
  });
}

}  // namespace cascade
