// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/verification.hpp"

#include "tests/unit/format/make_record.hpp"

#include <gtest/gtest.h>

namespace cascade::test {
namespace {

using Outcome = Verification::Outcome;

Record compared(std::uint64_t volume_seq, std::uint64_t sector, std::uint64_t time_ns) {
  Record r = make_record(volume_seq, {}, sector, volume_a, CASCADE_OP_VERIFY, 4096);
  r.primary_time_ns = htole64(time_ns);
  seal(r);
  return r;
}

struct VerificationTest : testing::Test {
  void note(std::uint64_t volume_seq, std::uint64_t sector, Outcome outcome) {
    verification.note(compared(volume_seq, sector, 1000 + volume_seq), outcome, ++now_ns);
  }
  const Verified& found() const { return *verification.own(volume_a); }

  Verification verification{"h"};
  std::uint64_t now_ns = 0;
};

TEST_F(VerificationTest, CountsWhatGoesOnThroughTheVolume) {
  note(1, 0, Outcome::same);
  note(2, 8, Outcome::differs);
  note(9, 16, Outcome::skipped);
  EXPECT_EQ(found().compared, 2 * 4096u);
  EXPECT_EQ(found().differing, 4096u);
  EXPECT_EQ(found().skipped, 4096u);
  EXPECT_EQ(found().through, 9u);
  EXPECT_EQ(found().run, 1u) << "one run";
}

// The beginning of the volume may be left to a resync, unreadable, or not asked for.
TEST_F(VerificationTest, BeginsAnewWithWhatLiesBeforeTheLast) {
  note(1, 8, Outcome::differs);
  note(2, 16, Outcome::same);
  note(5, 8, Outcome::same);
  EXPECT_EQ(found().differing, 0u) << "it was mended between the two";
  EXPECT_EQ(found().compared, 4096u);
  EXPECT_EQ(found().run, 3u);
}

TEST_F(VerificationTest, BeginsAnewWithAVolumeOfOneRange) {
  note(1, 0, Outcome::differs);
  note(2, 0, Outcome::same);
  EXPECT_EQ(found().differing, 0u);
}

// The applier goes back to the last sync point when a copy has failed.
TEST_F(VerificationTest, CountsWhatComesAgainOnce) {
  note(1, 0, Outcome::same);
  note(2, 8, Outcome::differs);
  note(1, 0, Outcome::skipped);
  note(2, 8, Outcome::skipped);
  note(3, 16, Outcome::same);
  EXPECT_EQ(found().compared, 3 * 4096u);
  EXPECT_EQ(found().differing, 4096u);
  EXPECT_EQ(found().skipped, 0u);
  EXPECT_EQ(found().run, 1u);
}

// As after `create --new`: its numbers begin at one once more.
TEST_F(VerificationTest, BeginsAnewWithAVolumeThatIsNumberedAnew) {
  note(70, 8, Outcome::differs);
  verification.note(compared(2, 16, 5000), Outcome::same, ++now_ns);
  EXPECT_EQ(found().differing, 0u);
  EXPECT_EQ(found().through, 2u);
  verification.note(compared(3, 24, 5001), Outcome::same, ++now_ns);
  EXPECT_EQ(found().compared, 2 * 4096u);
}

}  // namespace
}  // namespace cascade::test
