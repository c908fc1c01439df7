// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the parts cost that each write goes through, one at a time, in memory: `micro --help` has
// the options of Google Benchmark. Disks and time are the unit tests' doubles; sockets are not in
// it.
#include "daemon/path/journal_reader.hpp"
#include "lib/format/frame.hpp"
#include "lib/format/history.hpp"
#include "lib/format/pack.hpp"
#include "tests/double/ring_double.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <benchmark/benchmark.h>

#include <random>

namespace cascade::test {
namespace {

constexpr std::size_t block = 4096;
constexpr std::uint64_t MiB = 1024 * 1024;

void count_bytes(benchmark::State& state, std::size_t each) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(each));
}

// ---- records and frames

void record_make(benchmark::State& state) {
  const auto payload = pattern(static_cast<std::size_t>(state.range(0)), 1);
  for (auto _ : state) benchmark::DoNotOptimize(make_record(1, payload));
  count_bytes(state, payload.size());
}
BENCHMARK(record_make)->Arg(4096)->Arg(65536);

void record_check(benchmark::State& state) {
  const auto payload = pattern(static_cast<std::size_t>(state.range(0)), 1);
  const Record record = make_record(1, payload);
  for (auto _ : state) {
    benchmark::DoNotOptimize(check_record(record));
    benchmark::DoNotOptimize(payload_matches(record, payload));
  }
  count_bytes(state, payload.size());
}
BENCHMARK(record_check)->Arg(4096)->Arg(65536);

void history_step(benchmark::State& state) {
  Record record = make_record(1, pattern(block, 1));
  set_group_seq(record, 1);
  History history = history_begin(group);
  for (auto _ : state) benchmark::DoNotOptimize(history = history_after(history, record));
}
BENCHMARK(history_step);

/// Body of a DATA frame: records of one block, half of each of which is noise.
Bytes frame_body(std::uint32_t records) {
  std::mt19937 random(1);
  Bytes heads, payloads;
  for (std::uint32_t i = 0; i < records; ++i) {
    auto payload = pattern(block, i);
    for (std::size_t at = 0; at < block / 2; ++at) payload[at] = std::byte(random());
    const Record record = make_record(i + 1, payload);
    const auto head = std::as_bytes(std::span(&record, 1));
    heads.insert(heads.end(), head.begin(), head.end());
    payloads.insert(payloads.end(), payload.begin(), payload.end());
  }
  heads.insert(heads.end(), payloads.begin(), payloads.end());
  return heads;
}

FrameHeader header_of(FrameType type, std::span<const std::byte> body, std::uint32_t records) {
  const auto covered = type == FrameType::data ? body.first(records * sizeof(Record)) : body;
  const FrameHeader made =
      make_header(type, static_cast<std::uint32_t>(body.size()), records, 0, crc32c(covered));
  return *check_header(std::as_bytes(std::span<const FrameHeader, 1>(&made, 1)));
}

void frame_decode(benchmark::State& state) {
  const auto records = static_cast<std::uint32_t>(state.range(0));
  const Bytes body = frame_body(records);
  const FrameHeader header = header_of(FrameType::data, body, records);
  for (auto _ : state) benchmark::DoNotOptimize(decode_data(header, body));
  count_bytes(state, body.size());
}
BENCHMARK(frame_decode)->Arg(1)->Arg(32)->Arg(250);

void frame_pack(benchmark::State& state) {
  const Bytes body = frame_body(250);
  Packer packer(static_cast<Codec>(state.range(0)));
  const std::array parts{std::span<const std::byte>(body)};
  std::size_t packed = 0;
  for (auto _ : state) benchmark::DoNotOptimize(packed = packer.pack(parts).size());
  count_bytes(state, body.size());
  state.SetLabel("to " + std::to_string(100 * packed / body.size()) + " percent");
}
BENCHMARK(frame_pack)->ArgName("codec")->Arg(1)->Arg(2);

void frame_unpack(benchmark::State& state) {
  const Bytes body = frame_body(250);
  Packer packer(static_cast<Codec>(state.range(0)));
  const std::array parts{std::span<const std::byte>(body)};
  const auto packed = packer.pack(parts);
  const FrameHeader header = header_of(FrameType::packed, packed, 250);
  Unpacker unpacker;
  Bytes out(body.size());
  for (auto _ : state) {
    benchmark::DoNotOptimize(Unpacker::bytes(header, packed));
    benchmark::DoNotOptimize(unpacker.unpack(header, packed, out));
  }
  count_bytes(state, body.size());
}
BENCHMARK(frame_unpack)->ArgName("codec")->Arg(1)->Arg(2);

// ---- the ring, by its double of the kernel's side

void ring_through(benchmark::State& state) {
  RingDouble ring(volume_a, 1024, 8 * MiB);
  RingView view(ring.attach());
  ring.start(0);
  (void)view.rewind_to(0);
  const auto payload = pattern(block, 1);
  std::uint64_t seq = 0;
  for (auto _ : state) {
    seq = ring.write(0, payload);
    const auto batch = view.peek(limits::frame_records_max, limits::frame_payload_bytes_max);
    if (!batch || batch->records.size() != 1) return state.SkipWithError("the ring gives nothing");
    view.take(1);
    benchmark::DoNotOptimize(view.acknowledge(seq, seq));
    ring.doorbell();
  }
  count_bytes(state, block);
}
BENCHMARK(ring_through);

// ---- the journal, on a disk in memory that takes no time

constexpr std::uint64_t journal_bytes = 64 * MiB;

struct EmptyJournal {
  World world;
  MemoryDisk disk{world.executor, "journal", journal_data_offset + journal_bytes};

  EmptyJournal() { format(disk); }
  RunningJournal run(std::uint64_t cache) { return {world, disk, {volume_a}, cache}; }
};

void journal_append(benchmark::State& state) {
  EmptyJournal empty;
  RunningJournal run = empty.run(1 << 20);
  const auto writes = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t seq = 0;
  for (auto _ : state) {
    for (std::uint64_t i = 0; i < writes; ++i) {
      ++seq;
      run.journal.append(one_write(seq, block, seq));
    }
    empty.world.settle();
    if (run.journal.used_bytes() > journal_bytes / 2) (void)run.checkpoint(seq, seq + 1);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(seq));
  (void)run.stop_in_order();
}
BENCHMARK(journal_append)->ArgName("writes together")->Arg(1)->Arg(16)->Arg(32);

/// So many batches of one block each.
constexpr std::uint64_t batches = 4000;

void fill(RunningJournal& run) {
  for (std::uint64_t seq = 1; seq <= batches; ++seq) run.put(seq, block);
}

void journal_read_back(benchmark::State& state) {
  EmptyJournal empty;
  RunningJournal run = empty.run(0);
  fill(run);
  for (auto _ : state) {
    JournalReader reader(run.journal);
    for (std::uint64_t seq = 1; seq <= batches; ++seq)
      if (!empty.world.get(reader.read(seq))) return state.SkipWithError("a batch can't be read");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batches));
  (void)run.stop_in_order();
}
BENCHMARK(journal_read_back)->Unit(benchmark::kMillisecond);

void journal_open(benchmark::State& state) {
  EmptyJournal empty;
  {
    RunningJournal run = empty.run(0);
    fill(run);
    if (state.range(0) == 1)
      (void)run.stop_in_order();
    else
      run.kill();
  }
  const auto image = empty.disk.image();
  for (auto _ : state) {
    state.PauseTiming();
    empty.disk.image() = image;
    state.ResumeTiming();
    RunningJournal again = empty.run(0);
    if (!again.opened) return state.SkipWithError("it does not open");
    state.PauseTiming();
    again.kill();
    state.ResumeTiming();
  }
}
BENCHMARK(journal_open)->ArgName("orderly")->Arg(1)->Arg(0)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace cascade::test

BENCHMARK_MAIN();
