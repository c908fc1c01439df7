// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config/units.hpp"

#include <gtest/gtest.h>

namespace cascade {
namespace {

TEST(Units, SizesAreReadAsPeopleWriteThem) {
  EXPECT_EQ(parse_size("512"), 512u);
  EXPECT_EQ(parse_size("8MiB"), 8u << 20);
  EXPECT_EQ(parse_size("2 GiB"), std::uint64_t{2} << 30);
  for (const char* wrong : {"", "MiB", "8MB", "8mib", "-1", "1.5GiB", "99999999999TiB", "8MiB "})
    EXPECT_FALSE(parse_size(wrong)) << wrong;
}

TEST(Units, DurationsToo) {
  EXPECT_EQ(parse_duration("100ms"), std::chrono::milliseconds(100));
  EXPECT_EQ(parse_duration("5s"), std::chrono::seconds(5));
  EXPECT_EQ(parse_duration("2min"), std::chrono::minutes(2));
  for (const char* wrong : {"5", "5 hours", "s", "-5s", ""})
    EXPECT_FALSE(parse_duration(wrong)) << wrong;
}

TEST(Units, BytesAreShownShort) {
  EXPECT_EQ(human_bytes(17), "17 B");
  EXPECT_EQ(human_bytes(8 << 20), "8 MiB");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
}

}  // namespace
}  // namespace cascade
