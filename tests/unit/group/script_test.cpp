// SPDX-License-Identifier: GPL-2.0-or-later
//
// One short life of a cascade, played again and again; each time something breaks one step later.
// After that it must come to the same end: everything written, on every copy. I1, I2, I7.
//
// CASCADE_STRIDE=1 tries every step; CI every so many.
#include "tests/unit/group/virtual_cascade.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace cascade::test {
namespace {

constexpr int rounds_max = 4000, writes_each = 5;

/// Sessions are made, five writes go to each volume, the copies get them. `each_round` may break
/// something. Whether it came to the end.
bool play(Cascade& cascade, const std::function<void()>& each_round) {
  int written = 0;
  for (int round = 0; round < rounds_max; ++round) {
    cascade.go_round();
    each_round();
    if (round % 30 == 0 && written < writes_each && cascade.ready()) {
      cascade.write_to_each();
      ++written;
    }
    if (round % 10 == 0 && written == writes_each && cascade.drained()) return true;
  }
  return false;
}

std::uint64_t stride(std::uint64_t in_ci) {
  const char* given = std::getenv("CASCADE_STRIDE");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : in_ci;
}

/// Breaks the `step`-th time that something happens; false once it does not happen so often.
using Break = std::function<bool(Cascade&, std::uint64_t step)>;

void break_at_each_step(std::uint64_t every, const Break& once) {
  std::uint64_t tried = 0;
  for (std::uint64_t step = 1;; step += stride(every)) {
    SCOPED_TRACE("broken at step " + std::to_string(step));
    Cascade cascade(1, AckWhen::sync);
    if (!once(cascade, step)) break;
    ++tried;
    ASSERT_TRUE(cascade.drain()) << "after " << cascade.written() << " writes";
    ASSERT_EQ(cascade.difference(), "");
  }
  EXPECT_GT(tried, 5u) << "the script is over before it breaks";
}

TEST(SessionScript, ComesToItsEnd) {
  Cascade cascade(1, AckWhen::sync);
  ASSERT_TRUE(play(cascade, [] {}));
  EXPECT_EQ(cascade.written(), 2u * writes_each);
  EXPECT_EQ(cascade.difference(), "");
}

class NodeDies : public testing::TestWithParam<const char*> {};

TEST_P(NodeDies, AtEachStepInTurn) {
  break_at_each_step(7, [](Cascade& cascade, std::uint64_t step) {
    VirtualNode& victim = cascade.node(GetParam());
    bool died = false;
    const bool ended = play(cascade, [&] {
      if (died || victim.steps() < step) return;
      died = true;
      victim.kill(true);
      victim.start();
    });
    EXPECT_TRUE(ended || died);
    return died;
  });
}

INSTANTIATE_TEST_SUITE_P(Each, NodeDies, testing::ValuesIn(names));

TEST(SessionScript, LosesAConnectionAtEachOperationInTurn) {
  break_at_each_step(2, [](Cascade& cascade, std::uint64_t step) {
    std::uint64_t operations = 0;
    cascade.cut_when([&] { return ++operations == step; });
    const bool ended = play(cascade, [] {});
    EXPECT_TRUE(ended || operations >= step);
    cascade.cut_when({});
    return operations >= step;
  });
}

/// A disk of hub or remote fails for good: the group stops there, and begins again on a good one.
class DiskFails : public testing::TestWithParam<const char*> {};

TEST_P(DiskFails, AtEachWriteInTurn) {
  break_at_each_step(1, [](Cascade& cascade, std::uint64_t step) {
    VirtualNode& node = cascade.node(GetParam());
    node.kill(false);
    node.writes_max = step - 1;
    node.start();
    const bool ended = play(cascade, [] {});
    const auto journal = node.group().status().journal;
    const bool failed = !journal || journal->state == "failed";
    EXPECT_TRUE(ended || failed);
    node.kill(false);
    node.writes_max = MemoryDisk::never;
    node.start();
    return failed;
  });
}

INSTANTIATE_TEST_SUITE_P(Each, DiskFails, testing::Values("h", "r"));

}  // namespace
}  // namespace cascade::test
