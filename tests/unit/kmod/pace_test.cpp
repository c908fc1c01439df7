// SPDX-License-Identifier: GPL-2.0-or-later
//
// The resync's controller (kmod/pace.c) against a link and a hub in virtual time: how long an
// application's writes take beside copies, and how fast those are.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

extern "C" {
struct pace_model;
pace_model* pace_begin(unsigned rate_kib);
void pace_end(pace_model* m);
void pace_own(pace_model* m, std::uint64_t ns);
void pace_copied(pace_model* m, std::uint64_t ns);
struct pace_step {
  unsigned bytes, pause_ms, together;
};
pace_step pace_next(const pace_model* m, int busy, std::uint64_t ring_bytes);
}

namespace {

constexpr std::uint64_t ms = 1'000'000, ring_bytes = 8 << 20;
constexpr unsigned region = 256 * 1024;

/// What is on its way goes one behind the other, so many ns a byte; the answer takes a round trip.
struct Path {
  double ns_a_byte;
  std::uint64_t round_trip;
  std::uint64_t free_at = 0;

  std::uint64_t send(std::uint64_t now, unsigned bytes) {
    free_at = std::max(now, free_at) + static_cast<std::uint64_t>(bytes * ns_a_byte);
    return free_at + round_trip;
  }
};

struct Seen {
  std::vector<std::uint64_t> writes;  // ns each
  std::uint64_t copied = 0;           // bytes

  std::uint64_t p99() {
    std::sort(writes.begin(), writes.end());
    return writes[writes.size() * 99 / 100];
  }
};

/// One writer of 4 KiB at depth 1 with some time of its own in between, for ten seconds.
Seen run(Path path, bool copies, unsigned rate_kib = 0) {
  pace_model* pace = pace_begin(rate_kib);
  std::mt19937 lots(1);
  Seen seen;
  std::uint64_t write_at = 0, write_done = 0, copy_at = 0, copy_began = 0, copy_done = 0;
  unsigned copy_bytes = 0;
  for (std::uint64_t now = 0; now < 10'000 * ms; now += 20'000) {
    if (write_done != 0 && now >= write_done) {
      seen.writes.push_back(write_done - write_at);
      pace_own(pace, write_done - write_at);
      write_done = 0;
      write_at = now + lots() % 400'000;
    }
    if (write_done == 0 && now >= write_at) {
      write_at = now;
      write_done = path.send(now, 4096);
    }
    if (!copies) continue;
    if (copy_bytes != 0 && now >= copy_done) {
      pace_copied(pace, copy_done - copy_began);
      seen.copied += copy_bytes;
      copy_bytes = 0;
    }
    if (copy_bytes == 0 && now >= copy_at) {
      const pace_step step = pace_next(pace, 1, ring_bytes);
      copy_bytes = step.bytes;
      copy_began = now;
      copy_done = path.send(now, copy_bytes);
      copy_at = now + step.pause_ms * ms;
    }
  }
  pace_end(pace);
  return seen;
}

struct Case {
  const char* name;
  Path path;
  std::uint64_t bytes_a_second_min;
};

class ResyncPace : public testing::TestWithParam<Case> {};

// At most twice what it is without, and something is copied all the same.
TEST_P(ResyncPace, KeepsTheWritersLatencyWithinTwice) {
  const Path& path = GetParam().path;
  const std::uint64_t alone = run(path, false).p99();
  Seen beside = run(path, true);
  EXPECT_LE(beside.p99(), 2 * alone);
  EXPECT_GE(beside.copied / 10, GetParam().bytes_a_second_min);
}

INSTANTIATE_TEST_SUITE_P(Paths, ResyncPace,
                         testing::Values(Case{"lan 10 Gb/s", {0.8, 250'000}, 20 << 20},
                                         Case{"lan 1 Gb/s", {8, 300'000}, 4 << 20},
                                         Case{"metro 1 Gb/s", {8, 5 * ms}, 8 << 20},
                                         Case{"wan 100 Mb/s", {80, 20 * ms}, 3 << 19}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

TEST(ResyncPaceLimits, AreKeptBesideWritersAndWithout) {
  const Seen slow = run({0.8, 250'000}, true, 1024);
  EXPECT_LE(slow.copied, 10u * 1024 * 1024 + region);
  EXPECT_GE(slow.copied / 10, 512u * 1024);
}

TEST(ResyncPaceLimits, CopyWholeRegionsTogetherWhileNobodyWrites) {
  pace_model* pace = pace_begin(0);
  const pace_step idle = pace_next(pace, 0, ring_bytes);
  EXPECT_EQ(idle.bytes, region);
  EXPECT_EQ(idle.pause_ms, 0u);
  EXPECT_EQ(idle.together, 8u);
  EXPECT_EQ(pace_next(pace, 0, 1 << 20).together, 1u) << "a quarter of a small ring";
  EXPECT_EQ(pace_next(pace, 1, ring_bytes).together, 1u);
  pace_end(pace);
  pace_model* limited = pace_begin(256);
  EXPECT_EQ(pace_next(limited, 0, ring_bytes).pause_ms, 1000u);
  EXPECT_EQ(pace_next(limited, 0, ring_bytes).together, 1u);
  pace_end(limited);
}

}  // namespace
