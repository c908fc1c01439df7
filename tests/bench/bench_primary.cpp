// SPDX-License-Identifier: GPL-2.0-or-later
//
// A primary for benchmarks at native speed: the daemon's own code from the ring on, over TCP, to
// whatever hub the configuration names; the ring is the double of the kernel's side, and writes
// come from threads of this process. What it measures is the path of the daemons, not that of the
// kernel.
//
//   bench_primary --config FILE --node NAME [--bytes N] [--depth N] [--seconds N | --total N]
//
// Prints one line of JSON.
#include "daemon/io/loop.hpp"
#include "daemon/keeper.hpp"
#include "daemon/os/clock.hpp"
#include "daemon/os/disk.hpp"
#include "daemon/os/net.hpp"
#include "daemon/os/worker.hpp"
#include "tests/bench/allocations.hpp"
#include "tests/double/ring_double.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/resource.h>

namespace cascade::test {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Options {
  std::string config;
  std::string node;
  std::size_t bytes = 4096;
  unsigned depth = 1;
  double seconds = 5;
  std::uint64_t total = 0;  // bytes to be written; 0: for so many seconds
};

/// One volume's ring, attached by the daemon's code; the kernel's wake-up comes from another
/// thread.
class BenchRing final : public Ring {
 public:
  BenchRing(const Executor& executor, RingDouble& ring, const RingShape& shape)
      : ring_(ring),
        shape_(shape),
        memory_(ring.attach()),
        view_(memory_),
        changed_(executor),
        ended_(executor) {
    ring_.wake_with([this, executor] { asio::post(executor, [this] { changed_.notify(); }); });
  }
  ~BenchRing() override { ring_.wake_with({}); }

  RingView& view() override { return view_; }
  RingShape shape() const override { return shape_; }
  bool started() const override { return ring_.started(); }
  Result<void> start(std::uint64_t base, const Uuid& journal) override {
    ring_.start(base);
    shape_.journal = journal;
    return view_.rewind_to(base);
  }
  Result<void> doorbell() override {
    ring_.doorbell();
    return {};
  }
  Task<Result<void>> readable() override {
    while (!closed_ && ring_.published() <= memory_.daemon->consumed) co_await changed_.wait();
    if (closed_) co_return Error{Errc::closed, "closed"};
    co_return Result<void>{};
  }
  Task<Error> lost() override {
    while (!closed_) co_await ended_.wait();
    co_return Error{Errc::closed, "closed"};
  }
  void close() override {
    closed_ = true;
    changed_.notify();
    ended_.notify();
  }
  Result<void> resync(bool, std::uint64_t) override { return {}; }
  bool can_compare() const override { return false; }
  Task<Result<Peeked>> peek(std::uint64_t, std::span<std::byte>) override { co_return Peeked{}; }
  Result<void> same(const Peeked&) override { return {}; }
  bool can_verify() const override { return false; }
  Task<Result<Verifying>> verify(std::uint64_t, std::uint32_t, bool) override {
    co_return Verifying{};
  }
  Result<void> lease(Duration, std::uint8_t) override { return {}; }
  Result<void> alone() override { return Error{Errc::invalid, "not here"}; }
  void report_link(LinkState) override {}

 private:
  RingDouble& ring_;
  RingShape shape_;
  RingMemory memory_;
  RingView view_;
  Signal changed_, ended_;
  bool closed_ = false;
};

struct BenchVolume {
  BenchVolume(const GroupConfig& group, const VolumeConfig& volume, std::uint64_t bytes)
      : ring(volume.uuid, 2048, volume.ring_bytes) {
    ring.kernel_words().fence = CASCADE_FENCE_DATA;
    ring.kernel_words().sectors = bytes / 512;
    shape.sectors = bytes / 512;
    shape.block = 512;
    shape.hub_ack = static_cast<std::uint8_t>(
        group.hub_ack == AckWhen::sync ? CASCADE_ACK_SYNC : CASCADE_ACK_MEMORY_SYNC);
    shape.generation = make_uuid();
    shape.incarnation = make_uuid();
  }
  RingDouble ring;
  RingShape shape;
};

class BenchRings final : public RingHost {
 public:
  BenchRings(const Executor& executor, std::map<Uuid, std::unique_ptr<BenchVolume>>& volumes)
      : executor_(executor), volumes_(volumes) {}
  Result<std::unique_ptr<Ring>> attach(const Uuid& uuid) override {
    const auto volume = volumes_.find(uuid);
    if (volume == volumes_.end()) return Error{Errc::not_found, "the device does not exist"};
    return std::unique_ptr<Ring>(
        std::make_unique<BenchRing>(executor_, volume->second->ring, volume->second->shape));
  }

 private:
  Executor executor_;
  std::map<Uuid, std::unique_ptr<BenchVolume>>& volumes_;
};

/// An application with so many writes under way, on all volumes in turn.
struct Application {
  struct Write {
    RingDouble* ring;
    std::uint64_t seq;
    SteadyClock::time_point begun;
  };
  std::vector<double> latencies_us;
  std::uint64_t acknowledgements = 0;  // moments at which some writes were found to be done

  void run(std::vector<BenchVolume*> volumes, const Options& options) {
    std::mt19937_64 lots(1);
    std::vector<std::byte> payload(options.bytes);
    for (std::byte& b : payload) b = static_cast<std::byte>(lots());
    const std::uint64_t places = volumes.front()->shape.sectors * 512 / options.bytes;
    std::deque<Write> under_way;
    const auto end = SteadyClock::now() + std::chrono::duration<double>(options.seconds);
    std::uint64_t begun = 0;
    const auto more = [&] {
      return options.total > 0 ? begun * options.bytes < options.total : SteadyClock::now() < end;
    };
    while (more() || !under_way.empty()) {
      while (under_way.size() < options.depth && more()) {
        RingDouble& ring = volumes[begun % volumes.size()]->ring;
        const auto now = SteadyClock::now();
        under_way.push_back(
            {&ring, ring.write(lots() % places * (options.bytes / 512), payload), now});
        begun += 1;
      }
      if (under_way.empty()) break;
      const Write& oldest = under_way.front();
      if (!oldest.ring->wait_stored(oldest.seq, std::chrono::seconds(30)))
        throw std::runtime_error("no acknowledgement for 30 s");
      acknowledgements += 1;
      const auto now = SteadyClock::now();
      while (!under_way.empty() && under_way.front().ring->stored() >= under_way.front().seq) {
        latencies_us.push_back(
            std::chrono::duration<double, std::micro>(now - under_way.front().begun).count());
        under_way.pop_front();
      }
    }
  }
};

double percentile(std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(part * static_cast<double>(sorted.size())))];
}

struct Spent {
  std::uint64_t allocations;
  double cpu_seconds;
  long switches;
};

Spent spent() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return {allocations_until_now(), seconds(usage.ru_utime) + seconds(usage.ru_stime),
          usage.ru_nvcsw + usage.ru_nivcsw};
}

/// Everything of the node, on a thread of its own.
struct Node {
  Node(const Config& config, const GroupConfig& group, const std::string& name)
      : clock(loop.get_executor()),
        net(loop.get_executor(), config.daemon.session_timeout),
        aio(os::AioContext::create(loop)),
        rings(loop.get_executor(), volumes),
        keeper({loop.get_executor(), clock, net, *aio, rings, worker}, config, group, name),
        crew(loop.get_executor()) {}
  ~Node() { loop.abandon(); }

  void start() {
    crew.add(live());
    thread = std::thread([this] { loop.run(); });
  }
  Task<> live() {
    co_await keeper.run();
    aio->close();
  }
  void stop() {
    asio::post(loop, [this] { keeper.stop(); });
    thread.join();
  }

  std::map<Uuid, std::unique_ptr<BenchVolume>> volumes;
  Loop loop;
  os::SystemClock clock;
  os::TcpNet net;
  std::unique_ptr<os::AioContext> aio;
  BenchRings rings;
  os::ThreadWorker worker;
  GroupKeeper keeper;
  Crew crew;
  std::thread thread;
};

void wait_until_started(const std::vector<BenchVolume*>& volumes) {
  for (const auto until = SteadyClock::now() + std::chrono::seconds(30);
       SteadyClock::now() < until;) {
    if (std::all_of(volumes.begin(), volumes.end(), [](auto* v) { return v->ring.started(); }))
      return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw std::runtime_error("no session with the hub within 30 s");
}

int measure(const Options& options) {
  const auto config = load_config(options.config);
  if (!config) throw std::runtime_error(config.error().text);
  const GroupConfig& group = config->groups.front();
  Node node(*config, group, options.node);
  std::vector<BenchVolume*> own;
  for (const VolumeConfig& volume : group.volumes) {
    if (volume.primary != options.node) continue;
    const std::uint64_t bytes = std::filesystem::file_size(volume.disk.at(options.node));
    auto& slot = node.volumes[volume.uuid];
    slot = std::make_unique<BenchVolume>(group, volume, bytes);
    own.push_back(slot.get());
  }
  if (own.empty()) throw std::runtime_error(options.node + " is the primary of no volume");
  node.start();
  wait_until_started(own);
  Application application;
  application.latencies_us.reserve(1 << 22);
  const Spent before = spent();
  const auto begun = SteadyClock::now();
  application.run(own, options);
  const double took = std::chrono::duration<double>(SteadyClock::now() - begun).count();
  const Spent after = spent();
  node.stop();
  auto& latencies = application.latencies_us;
  std::sort(latencies.begin(), latencies.end());
  const auto writes = static_cast<double>(latencies.size());
  fmt::print(
      "{{\"writes\": {}, \"seconds\": {:.3f}, \"writes_per_second\": {:.0f}, \"p50_us\": {:.1f}, "
      "\"p99_us\": {:.1f}, \"writes_per_ack\": {:.1f}, \"allocations_per_write\": {:.3f}, "
      "\"cpu_us_per_write\": {:.2f}, \"switches_per_write\": {:.3f}}}\n",
      latencies.size(), took, writes / took, percentile(latencies, 0.5),
      percentile(latencies, 0.99), writes / static_cast<double>(application.acknowledgements),
      static_cast<double>(after.allocations - before.allocations) / writes,
      (after.cpu_seconds - before.cpu_seconds) * 1e6 / writes,
      static_cast<double>(after.switches - before.switches) / writes);
  return 0;
}

}  // namespace
}  // namespace cascade::test

int main(int argc, char** argv) {
  cascade::test::Options options;
  CLI::App app("A primary for benchmarks, without a kernel");
  app.add_option("--config", options.config)->required();
  app.add_option("--node", options.node)->required();
  app.add_option("--bytes", options.bytes, "of a write");
  app.add_option("--depth", options.depth, "writes under way");
  app.add_option("--seconds", options.seconds);
  app.add_option("--total", options.total, "bytes to write, instead of seconds");
  CLI11_PARSE(app, argc, argv);
  try {
    return cascade::test::measure(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_primary: {}\n", error.what());
    return 1;
  }
}
