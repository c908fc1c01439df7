// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config/units.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include <time.h>

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
  EXPECT_EQ(parse_duration("1h"), std::chrono::hours(1));
  for (const char* wrong : {"5", "5 hours", "s", "-5s", ""})
    EXPECT_FALSE(parse_duration(wrong)) << wrong;
}

TEST(Units, MomentsAreReadAsPeopleAndStatusWriteThem) {
  constexpr std::uint64_t s = 1'000'000'000, now = 1'795'960'931 * s;  // 2026-11-29T14:02:11Z
  EXPECT_EQ(parse_moment("2026-11-29T14:02:11Z", 0), now);
  EXPECT_EQ(parse_moment("2026-11-29T14:02:11.250Z", 0), now + s / 4);
  EXPECT_EQ(parse_moment("15min ago", now), now - 900 * s);
  EXPECT_EQ(parse_moment("1h ago", now), now - 3600 * s);
  const char* before = ::getenv("TZ");
  const std::string zone = before == nullptr ? "" : before;
  ::setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
  ::tzset();
  EXPECT_EQ(parse_moment("2026-11-29 15:02:11", 0), now);
  EXPECT_EQ(parse_moment("2026-11-29 15:02", 0), now - 11 * s);
  EXPECT_EQ(parse_moment("2026-07-01 02:00", 0), parse_moment("2026-07-01T00:00:00Z", 0));
  before == nullptr ? ::unsetenv("TZ") : ::setenv("TZ", zone.c_str(), 1);
  ::tzset();
  for (const char* wrong : {"", "yesterday", "14:02", "ago", "15 ago", "2026-11-29T14:02:11",
                            "2026-11-29T14:02:11.Z", "2026-11-29 15:02 or so", "2026-13-29 15:02"})
    EXPECT_FALSE(parse_moment(wrong, now)) << wrong;
  EXPECT_FALSE(parse_moment("1h ago", s)) << "before time began";
}

TEST(Units, BytesAreShownShort) {
  EXPECT_EQ(human_bytes(17), "17 B");
  EXPECT_EQ(human_bytes(8 << 20), "8 MiB");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
}

}  // namespace
}  // namespace cascade
