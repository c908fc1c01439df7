// SPDX-License-Identifier: GPL-2.0-or-later
// How much may be shipped at which time of the day.
#include "lib/config/ship_rate.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

namespace cascade {
namespace {

constexpr int at(int hour, int minute = 0) { return hour * 60 + minute; }

TEST(ShipRate, IsReadAsPeopleWriteIt) {
  EXPECT_EQ(parse_rate("5MiB"), Rate{5 << 20});
  EXPECT_EQ(parse_rate("0"), Rate{0});
  ASSERT_TRUE(parse_rate("unlimited"));
  EXPECT_EQ(*parse_rate("unlimited"), Rate{});
  for (const char* bad : {"", "fast", "5MB", "-1", "5 MiB/s"}) EXPECT_FALSE(parse_rate(bad)) << bad;
  EXPECT_EQ(parse_window("08:00-18:30"), (RateWindow{at(8), at(18, 30), {}}));
  EXPECT_EQ(parse_window("00:00-24:00"), (RateWindow{0, minutes_a_day, {}}));
  for (const char* bad : {"", "8:00-18:00", "08:00", "08:00-08:00", "24:00-08:00", "08:60-09:00",
                          "08:00-24:01", "08.00-18:00", "08:00 18:00", "+8:00-18:00"})
    EXPECT_FALSE(parse_window(bad)) << bad;
}

TEST(ShipRate, HoldsFromItsFirstMinuteToBeforeItsLast) {
  const ShipRate rate{Rate{100}, {{at(8), at(18), Rate{5}}, {at(22), at(6), Rate{}}}};
  EXPECT_EQ(rate.at(at(7, 59)), Rate{100});
  EXPECT_EQ(rate.at(at(8)), Rate{5});
  EXPECT_EQ(rate.at(at(17, 59)), Rate{5});
  EXPECT_EQ(rate.at(at(18)), Rate{100});
  EXPECT_EQ(rate.at(at(22)), Rate{}) << "over midnight, without a limit";
  EXPECT_EQ(rate.at(0), Rate{});
  EXPECT_EQ(rate.at(at(5, 59)), Rate{});
  EXPECT_EQ(rate.at(at(6)), Rate{100});
  EXPECT_TRUE(rate.is_limited());
  EXPECT_FALSE(ShipRate{}.is_limited());
}

TEST(ShipRate, GoesByLocalTime) {
  const char* before = std::getenv("TZ");
  const std::string kept = before != nullptr ? before : "";
  constexpr std::uint64_t ten_past_one_ns = 4200ull * 1'000'000'000;
  for (const auto& [zone, minute] : {std::pair("UTC", at(1, 10)), std::pair("IST-5:30", at(6, 40)),
                                     std::pair("BRT+3", at(22, 10))}) {
    ::setenv("TZ", zone, 1);
    ::tzset();
    EXPECT_EQ(minute_of_day(ten_past_one_ns), minute) << zone;
  }
  if (before != nullptr)
    ::setenv("TZ", kept.c_str(), 1);
  else
    ::unsetenv("TZ");
  ::tzset();
}

}  // namespace
}  // namespace cascade
