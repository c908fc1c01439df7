// SPDX-License-Identifier: GPL-2.0-or-later
// How long something will still take.
#include "daemon/path/progress.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

using std::chrono::milliseconds;

TEST(Progress, IsSaidFromHowFastItWent) {
  Progress progress;
  EXPECT_FALSE(progress.seconds_left());
  progress.sample(milliseconds(0), 1000);
  progress.sample(milliseconds(500), 900);
  EXPECT_FALSE(progress.seconds_left()) << "too early to say";
  progress.sample(milliseconds(2000), 600);
  EXPECT_DOUBLE_EQ(*progress.seconds_left(), 3.0);
  progress.sample(milliseconds(3000), 500);
  EXPECT_DOUBLE_EQ(*progress.seconds_left(), 500 / 150.0) << "slower of late";
  progress.sample(milliseconds(4000), 0);
  EXPECT_FALSE(progress.seconds_left());
}

TEST(Progress, IsNotKnownWhereItStandsStillOrBecomesMore) {
  Progress progress;
  progress.sample(milliseconds(0), 1000);
  progress.sample(milliseconds(1000), 1000);
  EXPECT_FALSE(progress.seconds_left());
  progress.sample(milliseconds(2000), 900);
  EXPECT_TRUE(progress.seconds_left());
  progress.sample(milliseconds(3000), 5000);
  EXPECT_FALSE(progress.seconds_left());
}

}  // namespace
}  // namespace cascade::test
