// SPDX-License-Identifier: GPL-2.0-or-later
// How many lines somebody else can cause.
#include "daemon/report/log.hpp"

#include <gtest/gtest.h>

namespace cascade::report {
namespace {

using std::chrono::milliseconds;

TEST(LogBudget, LetsSomeThroughAtOnceAndThenFew) {
  Budget budget;
  std::chrono::steady_clock::time_point now{std::chrono::hours(1)};
  int lines = 0;
  for (int i = 0; i < 3000; ++i, now += milliseconds(100)) lines += budget.spend(now) ? 1 : 0;
  EXPECT_GE(lines, 20);
  EXPECT_LE(lines, 23) << "in five minutes";
  EXPECT_EQ(budget.left_out(), 3000u - static_cast<unsigned>(lines));
  now += std::chrono::hours(1);
  lines = 0;
  for (int i = 0; i < 100; ++i) lines += budget.spend(now) ? 1 : 0;
  EXPECT_EQ(lines, 12) << "a quiet hour brings back all of it, and no more";
}

}  // namespace
}  // namespace cascade::report
