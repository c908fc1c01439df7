// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's side of a ring against a double of the kernel's: order, wrap, wake-ups that are
// never lost, and neither side believing a wrong word of the other. I7, I8, I9.
#include "tests/double/ring_double.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

namespace cascade::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr std::uint64_t slots = 64, payload_bytes = 128 * 1024;
constexpr auto hang = 20s;  // far more than any step takes: a lost wake-up

struct RingTest : testing::Test {
  RingDouble ring{volume_a, slots, payload_bytes};
  RingMemory memory = ring.attach();

  RingView view_from(std::uint64_t base) {
    ring.start(base);
    RingView view(memory);
    EXPECT_TRUE(view.rewind_to(base));
    return view;
  }
};

TEST_F(RingTest, RecordsComeOutAsTheyWentIn) {
  RingView view = view_from(100);
  EXPECT_EQ(ring.write(8, pattern(4096, 1)), 101u);
  EXPECT_EQ(ring.write(16, pattern(512, 2)), 102u);
  const auto batch = view.peek(10, 1 << 20);
  ASSERT_TRUE(batch);
  ASSERT_EQ(batch->records.size(), 2u);
  EXPECT_EQ(batch->payload.size(), 4608u);
  EXPECT_TRUE(payload_matches(batch->records[1], batch->payload.subspan(4096)));
}

TEST_F(RingTest, AHubThatHasNotStoredTheBaseYetDoesNotCostUsTheRing) {
  RingView view(memory);
  ring.start(100);
  ASSERT_TRUE(view.rewind_to(100));
  view.acknowledge(100, 90);  // memory-sync: received through 100, stored through 90
  EXPECT_TRUE(ring.doorbell());
}

// U8: a write that failed before it was published keeps its number, and its place in the payload.
TEST_F(RingTest, ARecordWithoutEffectMayLeaveAGapBehindIt) {
  RingView view = view_from(0);
  for (unsigned i = 0; i < 3; ++i) ring.write(i, pattern(1024, i));
  Record& failed = ring.record(2);
  failed.op = CASCADE_OP_NOOP;
  failed.sector = failed.payload_crc = 0;
  failed.length = 0;
  seal(failed);
  std::vector<std::uint64_t> seen;
  while (seen.size() < 3) {
    const auto batch = view.peek(10, 1 << 20);
    ASSERT_TRUE(batch) << batch.error().text;
    ASSERT_FALSE(batch->records.empty());
    std::size_t bytes = 0;
    for (const Record& r : batch->records) {
      seen.push_back(volume_seq_of(r));
      EXPECT_TRUE(payload_matches(r, batch->payload.subspan(bytes, payload_bytes_of(r))));
      bytes += payload_bytes_of(r);
    }
    EXPECT_EQ(bytes, batch->payload.size());
    view.take(batch->records.size());
  }
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{1, 2, 3}));
}

// U5: only what ends somebody's waiting is worth a system call.
TEST_F(RingTest, ADoorbellIsForWhatSomebodyWaitsFor) {
  RingView view = view_from(0);
  for (unsigned i = 0; i < 4; ++i) ring.write(i, pattern(512, i));
  view.take(4);
  EXPECT_FALSE(view.acknowledge(1, 1)) << "nobody waits";
  ring.kernel_words().ring_stored = 3;
  EXPECT_FALSE(view.acknowledge(4, 2));
  EXPECT_TRUE(view.acknowledge(4, 3));
  ring.kernel_words().ring_stored = CASCADE_RING_NEVER;
  ring.kernel_words().ring_received = 4;
  EXPECT_TRUE(view.acknowledge(4, 3));
}

TEST_F(RingTest, PeekKeepsItsBounds) {
  RingView view = view_from(0);
  for (unsigned i = 0; i < 5; ++i) ring.write(i, pattern(1024, i));
  EXPECT_EQ(view.peek(2, 1 << 20)->records.size(), 2u);
  EXPECT_EQ(view.peek(10, 3000)->records.size(), 2u);
  EXPECT_EQ(view.peek(10, 1000)->records.size(), 0u);
}

TEST_F(RingTest, ANewDaemonGoesOnBehindWhatIsStored) {
  RingView view = view_from(0);
  for (unsigned i = 0; i < 6; ++i) ring.write(i, pattern(512, i));
  view.take(view.peek(6, 1 << 20)->records.size());
  EXPECT_FALSE(view.acknowledge(5, 3) && !ring.doorbell());
  ring.doorbell();
  RingView next(ring.attach());
  EXPECT_EQ(next.released(), 3u);
  EXPECT_FALSE(next.rewind_to(2)) << "what is released may be overwritten";
  EXPECT_FALSE(next.rewind_to(7)) << "what is not published is not there";
  ASSERT_TRUE(next.rewind_to(3));
  const auto batch = next.peek(10, 1 << 20);
  ASSERT_TRUE(batch);
  EXPECT_EQ(volume_seq_of(batch->records.front()), 4u);
  EXPECT_EQ(batch->records.size(), 3u);
}

TEST_F(RingTest, AcknowledgementsNeverGoPastWhatWasTaken) {
  RingView view = view_from(0);
  ring.write(0, pattern(512, 1));
  ring.write(1, pattern(512, 2));
  view.take(1);
  view.acknowledge(99, 99);
  EXPECT_TRUE(ring.doorbell()) << "a hub that claims too much must not cost the daemon its ring";
  EXPECT_EQ(view.stored(), 1u);
  EXPECT_EQ(ring.stored(), 1u);
}

// ---- a hostile daemon against the kernel's checks

struct HostileWords {
  const char* what;
  std::uint64_t received, stored;
};

TEST(HostileDaemon, EveryWrongWordDetachesIt) {
  const HostileWords table[] = {
      {"stored past received", 3, 4}, {"received past published", 6, 3},
      {"received goes back", 1, 1},   {"stored goes back", 4, 1},
      {"all ones", ~0ull, ~0ull},     {"sign bit", 1ull << 63, 2},
  };
  for (const HostileWords& words : table) {
    RingDouble ring(volume_a, slots, payload_bytes);
    const RingMemory memory = ring.attach();
    ring.start(0);
    for (unsigned i = 0; i < 5; ++i) ring.write(i, pattern(512, i));
    memory.daemon->received = 3;
    memory.daemon->stored = 2;
    ASSERT_TRUE(ring.doorbell());
    memory.daemon->received = words.received;
    memory.daemon->stored = words.stored;
    EXPECT_FALSE(ring.doorbell()) << words.what;
    EXPECT_TRUE(ring.revoked()) << words.what;
    EXPECT_EQ(ring.stored(), 2u) << words.what;
    RingView next(ring.attach());
    EXPECT_TRUE(next.rewind_to(2)) << "a new daemon goes on";
  }
}

TEST(HostileDaemon, RandomWordsNeverMoveTheKernelPastWhatItPublished) {
  std::mt19937_64 lots(11);
  for (int round = 0; round < 2000; ++round) {
    RingDouble ring(volume_a, slots, payload_bytes);
    const RingMemory memory = ring.attach();
    ring.start(0);
    for (unsigned i = 0; i < 4; ++i) ring.write(i, pattern(512, i));
    memory.daemon->received = lots() % 8;
    memory.daemon->stored = lots() % 8;
    const bool fair =
        memory.daemon->received <= 4 && memory.daemon->stored <= memory.daemon->received;
    EXPECT_EQ(ring.doorbell(), fair);
    EXPECT_LE(ring.stored(), 4u);
  }
}

// ---- a broken kernel against the daemon's checks

TEST_F(RingTest, WrongWordsOfTheKernelAreNamedAndNotFollowed) {
  RingView view = view_from(0);
  for (unsigned i = 0; i < 3; ++i) ring.write(i, pattern(512, i));
  const auto text = [&view] {
    const auto batch = view.peek(10, 1 << 20);
    return batch ? std::string("accepted") : batch.error().text;
  };
  ASSERT_EQ(text(), "accepted");
  const Record good = ring.record(2);
  ring.record(2).sector ^= 1;
  EXPECT_THAT(text(), HasSubstr("record checksum"));
  ring.record(2) = make_record(9, pattern(512, 1));
  EXPECT_THAT(text(), HasSubstr("a slot holds write 9, wanted 2"));
  ring.record(2) = good;
  ring.payload_pos(2) += 512;
  EXPECT_THAT(text(), HasSubstr("does not follow its predecessor's"));
  ring.payload_pos(2) = 3;
  EXPECT_THAT(text(), HasSubstr("out of place"));
  ring.payload_pos(2) = 512;
  ASSERT_EQ(text(), "accepted");
  ring.kernel_words().published = 1;
  EXPECT_THAT(text(), HasSubstr("count of published records went wrong"));
}

TEST_F(RingTest, CountsBeyondTheRingAreNotFollowed) {
  RingView view = view_from(0);
  ring.write(0, pattern(512, 1));
  ring.kernel_words().published = slots + 5;
  EXPECT_FALSE(view.peek(10, 1 << 20));
}

// ---- both sides at once

struct Torture {
  unsigned seed;
  std::uint64_t writes;
};

/// Takes, checks and acknowledges until `last` is stored; sleeps whenever there is nothing.
void consume(RingDouble& ring, const RingMemory& memory, RingView& view, std::uint64_t last,
             unsigned seed, std::atomic<bool>& failed) {
  std::mt19937 lots(seed);
  std::uint64_t expected = view.taken() + 1;
  while (view.stored() < last && !failed) {
    const auto batch = view.peek(1 + lots() % 32, 4096 + lots() % 60000);
    if (!batch) {
      ADD_FAILURE() << batch.error().text;
      failed = true;
      return;
    }
    auto payload = batch->payload;
    for (const Record& r : batch->records) {
      const auto piece = payload.first(payload_bytes_of(r));
      payload = payload.subspan(piece.size());
      if (volume_seq_of(r) != expected++ || !payload_matches(r, piece)) failed = true;
    }
    view.take(batch->records.size());
    if (lots() % 8 == 0) std::this_thread::yield();
    // Sometimes receipt first, sometimes both at once.
    const std::uint64_t behind = lots() % 3 == 0 ? lots() % 4 : 0;
    const std::uint64_t stored = view.taken() > behind ? view.taken() - behind : 0;
    if (view.acknowledge(view.taken(), std::max(stored, view.stored()))) ring.doorbell();
    if (!batch->records.empty() || view.taken() != view.stored() || view.stored() == last) continue;
    if (view.prepare_to_sleep() && !ring.wait_readable(std::chrono::milliseconds(hang))) {
      ADD_FAILURE() << "a wake-up was lost: published " << ring.published() << ", taken "
                    << view.taken() << ", acknowledged " << view.stored() << ", stored "
                    << ring.stored() << ", doorbell wanted at " << memory.kernel->ring_stored;
      failed = true;
    }
    view.woken();
  }
}

class RingTorture : public testing::TestWithParam<int> {};

TEST_P(RingTorture, NothingIsLostAndNobodySleepsForEver) {
  const char* given = std::getenv("CASCADE_SEED");
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
  SCOPED_TRACE("again with: CASCADE_SEED=" + std::to_string(seed) +
               " ctest --preset tsan -R RingTorture");
  constexpr std::uint64_t writes = 4000;
  const std::uint64_t small_slots = GetParam() % 2 == 0 ? 8 : slots;
  RingDouble ring(volume_a, small_slots, payload_bytes);
  const RingMemory memory = ring.attach();
  RingView view(memory);
  ring.start(1000);
  ASSERT_TRUE(view.rewind_to(1000));
  std::atomic<bool> failed{false};
  std::thread daemon([&] { consume(ring, memory, view, 1000 + writes, seed, failed); });
  std::mt19937 lots(seed + 1);
  for (std::uint64_t i = 0; i < writes && !failed; ++i) {
    const auto seq = ring.write(i, pattern(512 * (1 + lots() % 24), static_cast<unsigned>(i)));
    if (lots() % 16 == 0 && !ring.wait_stored(seq, std::chrono::milliseconds(hang))) {
      ADD_FAILURE() << "a doorbell was lost: published " << ring.published() << ", waiting for "
                    << seq << ", taken " << memory.daemon->consumed << ", acknowledged "
                    << memory.daemon->stored << ", stored " << ring.stored()
                    << ", doorbell wanted at " << memory.kernel->ring_stored;
      failed = true;
    }
    if (lots() % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(lots() % 200));
  }
  daemon.join();
  EXPECT_FALSE(failed);
  EXPECT_EQ(view.stored(), 1000 + writes);
}

INSTANTIATE_TEST_SUITE_P(Rounds, RingTorture, testing::Range(0, 6));

}  // namespace
}  // namespace cascade::test
