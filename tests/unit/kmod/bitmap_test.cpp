// SPDX-License-Identifier: GPL-2.0-or-later
//
// kmod/bitmap.c against a model, with crashes at any write of a block. I6: a region whose writes
// the hub may lack is marked on disk, whatever was lost or torn.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

extern "C" const char* bitmap_model(unsigned seed, unsigned steps);

namespace {

class BitmapModel : public testing::TestWithParam<int> {};

TEST_P(BitmapModel, HasAMarkForWhateverMayDiffer) {
  const char* given = std::getenv("CASCADE_SEED");
  const auto seed = static_cast<unsigned>(given != nullptr ? std::atoi(given) : GetParam());
  SCOPED_TRACE("again with: CASCADE_SEED=" + std::to_string(seed) +
               " ctest --preset dev -R BitmapModel");
  EXPECT_STREQ(bitmap_model(seed, 400), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, BitmapModel, testing::Range(1, 31));

}  // namespace
