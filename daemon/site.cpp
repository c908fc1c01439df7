// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/site.hpp"

#include "daemon/group.hpp"
#include "daemon/io/loop.hpp"
#include "daemon/os/disk.hpp"
#include "daemon/os/ring.hpp"
#include "daemon/os/thread_call.hpp"
#include "daemon/report/log.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <thread>

namespace cascade {
namespace {

using report::Level;

/// Hosts of the configured nodes; those given by name can't be told by a connection's address.
std::set<std::string> literal_hosts(const Config& config) {
  std::set<std::string> hosts;
  for (const NodeConfig& node : config.nodes) hosts.insert(node.address.host);
  return hosts;
}

}  // namespace

/// One group, its event loop and its thread.
struct Site::Shard {
  Shard(asio::io_context& home, const Config& config, const GroupConfig& group,
        const std::string& node)
      : uuid(group.uuid),
        clock(io.get_executor()),
        net(io.get_executor()),
        rings(io.get_executor()),
        home_(home),
        config_(config),
        group_(group),
        node_(node) {}
  ~Shard() { give_up(); }

  Result<void> start() {
    auto aio_or = os::AioContext::create(io);
    if (!aio_or) return aio_or.error();
    aio = std::move(*aio_or);
    const GroupNode::Seams seams{io.get_executor(), clock, net, *aio, rings};
    node = std::make_unique<GroupNode>(seams, config_, group_, node_);
    crew.emplace(io.get_executor());
    crew->add(live());
    thread = std::thread([this] { serve(); });
    return {};
  }

  /// An exception in a group is a bug, or memory that ran out: it ends this group, whose state
  /// can't be trusted any more, and no other. Its journal is as after a crash.
  void serve() {
    try {
      io.run();
    } catch (const std::exception& error) {
      fail(error.what());
      // Not here: handlers that the main thread waits for may be among what is given up.
      asio::post(home_, [this] { give_up(); });
    }
  }

  /// Its sessions end at once: no peer has to find out by silence.
  void give_up() {
    join();
    io.abandon();
  }

  void join() {
    if (thread.joinable()) thread.join();
  }

  void fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    failure_ =
        Error{Errc::io, fmt::format("group {} was ended by an error inside this daemon ({}); "
                                    "restart dmcascaded, and report it",
                                    group_.name, what)};
    report::log(Level::error, group_.name, failure_->text);
  }

  /// Set once the group's thread has gone.
  std::optional<Error> failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  api::Group status_of_failed() {
    api::Group out;
    out.name = group_.name;
    out.uuid = to_text(group_.uuid);
    out.journal.emplace();
    out.journal->state = "failed";
    out.journal->reason = failure()->text;
    return out;
  }

  Task<> live() {
    co_await node->run();
    aio->close();
  }

  Uuid uuid;
  Loop io;
  os::SystemClock clock;
  os::TcpNet net;
  os::KernelRings rings;
  std::unique_ptr<os::AioContext> aio;
  std::unique_ptr<GroupNode> node;
  std::optional<Crew> crew;
  std::thread thread;

 private:
  asio::io_context& home_;
  const Config& config_;
  const GroupConfig& group_;
  const std::string& node_;
  std::mutex mutex_;
  std::optional<Error> failure_;
};

Site::Site(asio::io_context& io, const Config& config, std::string node)
    : io_(io),
      config_(config),
      node_(std::move(node)),
      clock_(io.get_executor()),
      net_(io.get_executor()),
      door_(io.get_executor(), clock_, literal_hosts(config),
            [this](auto& stream, auto& hello) { return hand_over(stream, hello); }),
      crew_(io.get_executor()) {}

Site::~Site() = default;

bool Site::listens() const {
  return std::any_of(config_.groups.begin(), config_.groups.end(),
                     [this](const GroupConfig& g) { return g.hub == node_ || g.remote == node_; });
}

Result<void> Site::start() {
  if (listens()) {
    auto listener = net_.listen(config_.node(node_)->address);
    if (!listener) return listener.error();
    listener_ = std::move(*listener);
  }
  for (const GroupConfig& group : config_.groups) {
    if (!GroupNode::concerns(group, node_)) continue;
    shards_.push_back(std::make_unique<Shard>(io_, config_, group, node_));
    if (auto started = shards_.back()->start(); !started) return started;
  }
  if (listener_) crew_.add(door_.run(*listener_));
  return {};
}

Task<> Site::stop() {
  if (listener_) listener_->close();
  for (auto& shard : shards_) asio::post(shard->io, [node = shard->node.get()] { node->stop(); });
  for (auto& shard : shards_) shard->join();
  co_await crew_.join();
}

/// To the thread of its group.
Result<void> Site::hand_over(std::unique_ptr<Stream>& stream, Hello& hello) {
  Shard* shard = find(hello.group);
  if (shard == nullptr)
    return Error{Errc::refused,
                 fmt::format("{} takes no part in group {}; compare the configuration files", node_,
                             to_text(hello.group))};
  if (const auto failed = shard->failure()) return *failed;
  auto adopted = shard->net.adopt(std::move(stream));
  if (!adopted) return {};  // it was closed while its hello arrived
  auto moved = std::move(*adopted);
  asio::post(shard->io,
             [node = shard->node.get(), moved = std::move(moved), h = std::move(hello)]() mutable {
               node->accept(std::move(moved), std::move(h));
             });
  return {};
}

Site::Shard* Site::find(const Uuid& group) {
  for (auto& shard : shards_)
    if (shard->uuid == group) return shard.get();
  return nullptr;
}

Task<api::StatusReport> Site::status() {
  api::StatusReport report;
  report.version = CASCADE_VERSION;
  report.time = report::rfc3339(clock_.realtime_ns());
  report.node = node_;
  for (auto& shard : shards_) {
    if (shard->failure()) {
      report.groups.push_back(shard->status_of_failed());
      continue;
    }
    GroupNode* node = shard->node.get();
    report.groups.push_back(co_await os::call_on<api::Group>(shard->io.get_executor(),
                                                             [node] { return node->status(); }));
  }
  co_return report;
}

Task<Result<void>> Site::tell(std::string group, std::function<Result<void>(GroupNode&)> what) {
  const GroupConfig* config = config_.group(group);
  Shard* shard = config == nullptr ? nullptr : find(config->uuid);
  if (shard == nullptr)
    co_return Error{Errc::not_found, fmt::format("{} takes no part in a group {}", node_, group)};
  if (const auto failed = shard->failure()) co_return *failed;
  // Named, for g++ 12; see thread_call.hpp.
  const auto call = [node = shard->node.get(), what] { return what(*node); };
  co_return co_await os::call_on<Result<void>>(shard->io.get_executor(), call);
}

}  // namespace cascade
