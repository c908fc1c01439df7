// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/ranges.hpp"

#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

#include <bitset>
#include <random>

namespace cascade::test {
namespace {

TEST(Ranges, AreInOrderAndDoNotTouch) {
  EXPECT_EQ(united({{8, 8}, {0, 8}, {20, 4}, {22, 1}}), (Ranges{{0, 16}, {20, 4}}));
  EXPECT_EQ(bytes_of({{0, 16}, {20, 4}}), 20u);
  EXPECT_EQ(common({{0, 16}, {20, 4}}, {{8, 14}}), (Ranges{{8, 8}, {20, 2}}));
  EXPECT_EQ(without({{0, 16}, {20, 4}}, {{8, 14}}), (Ranges{{0, 8}, {22, 2}}));
  EXPECT_EQ(without({{0, 4}}, {}), (Ranges{{0, 4}}));
  EXPECT_TRUE(common({{0, 4}}, {{4, 4}}).empty());
}

using Bits = std::bitset<64>;

Bits bits_of(const Ranges& ranges) {
  Bits out;
  for (const auto& range : ranges)
    for (std::uint64_t at = range.begin; at < range.begin + range.bytes; ++at) out.set(at);
  return out;
}

TEST(Ranges, AreSetsOfBytes) {
  const unsigned seed = seed_of(1);
  SCOPED_TRACE(again_with(seed, "Ranges"));
  std::mt19937 draw(seed);
  const auto some = [&] {
    Ranges out;
    for (unsigned i = draw() % 6; i > 0; --i) out.push_back({draw() % 50, 1 + draw() % 10});
    return out;
  };
  for (int round = 0; round < 2000; ++round) {
    const Ranges raw = some(), a = united(raw), b = united(some());
    ASSERT_EQ(bits_of(a), bits_of(raw));
    ASSERT_EQ(bits_of(a).count(), bytes_of(a));
    ASSERT_EQ(bits_of(common(a, b)), bits_of(a) & bits_of(b));
    ASSERT_EQ(bits_of(without(a, b)), bits_of(a) & ~bits_of(b));
  }
}

}  // namespace
}  // namespace cascade::test
