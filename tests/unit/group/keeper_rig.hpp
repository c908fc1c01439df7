// SPDX-License-Identifier: GPL-2.0-or-later
// A virtual cascade, and what its nodes say is wrong.
#pragma once

#include "tests/unit/group/virtual_cascade.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace cascade::test {

class KeeperTest : public testing::Test {
 protected:
  api::Group status(const std::string& name) { return cascade.node(name).group().status(); }
  bool has(const std::string& name, const std::string& code) {
    const auto conditions = status(name).conditions;
    return std::any_of(conditions.begin(), conditions.end(),
                       [&](const api::Condition& c) { return c.code == code; });
  }
  /// A condition of some node, or empty.
  std::string wrong() {
    for (const char* name : {"p1", "p2", "h", "r"})
      for (const auto& c : status(name).conditions) return name + (": " + c.code) + ": " + c.reason;
    return {};
  }
  /// Within a minute nothing is wrong any more, and all copies have everything.
  void expect_well() {
    for (int tenths = 0; tenths < 600 && !wrong().empty(); ++tenths)
      cascade.run_for(std::chrono::milliseconds(100));
    EXPECT_EQ(wrong(), "");
    EXPECT_TRUE(cascade.drain()) << cascade.figures();
    EXPECT_EQ(cascade.difference(), "");
  }
  /// All are connected, and some writes are through.
  void begin() {
    while (cascade.written() < 20) cascade.go_on();
  }
  void go_on(int rounds = 2000) {
    for (int i = 0; i < rounds; ++i) cascade.go_on();
  }

  Cascade cascade{7, AckWhen::sync};
};

}  // namespace cascade::test
