// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any daemon of a cascade is destroyed at any step, without being stopped, and begun again from its
// disks. I1, I2, I7. One seed is one history; a failure says how to see it again.
#include "tests/unit/group/virtual_cascade.hpp"
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

class AnyDaemonDies : public testing::TestWithParam<int> {};

TEST_P(AnyDaemonDies, AtAnyStepAndNothingIsLost) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "AnyDaemonDies"));
  Cascade cascade(seed, seed % 2 == 0 ? AckWhen::sync : AckWhen::memory_sync);
  for (int life = 0; life < 8; ++life) {
    for (unsigned i = cascade.draw() % 120; i > 0; --i) cascade.go_on();
    VirtualNode& victim = cascade.node(names[cascade.draw() % names.size()]);
    victim.kill(cascade.draw() % 2 == 0);
    for (unsigned i = cascade.draw() % 40; i > 0; --i) cascade.go_on();
    victim.start();
  }
  ASSERT_TRUE(cascade.drain()) << "after " << cascade.written() << " writes";
  EXPECT_EQ(cascade.difference(), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, AnyDaemonDies, testing::Range(1, 49));

}  // namespace
}  // namespace cascade::test
