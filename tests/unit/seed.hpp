// SPDX-License-Identifier: GPL-2.0-or-later
// Tests that draw lots: one seed is one history, and a failure says how to see it again.
#pragma once

#include <cstdlib>
#include <string>

namespace cascade::test {

/// The test's own, or CASCADE_SEED of the environment.
inline unsigned seed_of(int parameter) {
  const char* given = std::getenv("CASCADE_SEED");
  return static_cast<unsigned>(given != nullptr ? std::atoi(given) : parameter);
}

/// For SCOPED_TRACE.
inline std::string again_with(unsigned seed, const char* test) {
  return "again with: CASCADE_SEED=" + std::to_string(seed) + " ctest --preset dev -R " + test;
}

}  // namespace cascade::test
