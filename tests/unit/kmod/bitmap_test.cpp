// SPDX-License-Identifier: GPL-2.0-or-later
//
// kmod/bitmap.c against a model, with crashes at any write of a block. I6: a region whose writes
// the hub may lack is marked on disk, whatever was lost or torn.
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

extern "C" const char* bitmap_model(unsigned seed, unsigned steps);

namespace cascade::test {
namespace {

class BitmapModel : public testing::TestWithParam<int> {};

TEST_P(BitmapModel, HasAMarkForWhateverMayDiffer) {
  const unsigned seed = seed_of(GetParam());
  SCOPED_TRACE(again_with(seed, "BitmapModel"));
  EXPECT_STREQ(bitmap_model(seed, 400), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, BitmapModel, testing::Range(1, 31));

}  // namespace
}  // namespace cascade::test
