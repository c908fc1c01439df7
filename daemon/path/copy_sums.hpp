// SPDX-License-Identifier: GPL-2.0-or-later
//
// What this node's copies hold, for a sender that copies only what differs.
//
// Whoever compares need not stop anything. Let each block be read here as of write y and there as
// of write s. If they are equal they stay so: where the block was not written in between, both have
// what it held; where it was, the last such write, which both get, decides. That holds for all
// writes that the sender's copy has, too. Others, from before, must have been applied by then:
// Intake::comparable_from().
#pragma once

#include "daemon/path/applier.hpp"
#include "daemon/path/intake.hpp"
#include "lib/format/frame.hpp"

#include <optional>

namespace cascade {

class CopySums {
 public:
  CopySums(Journal& journal, const Applier& applier) : journal_(journal), applier_(applier) {}

  /// Waits until the copy can be compared. Nothing if it can't, or `stopped`; then it has to be
  /// copied. `intake` and `stopped` outlive the call.
  Task<std::optional<ContentSum>> sum_of(const Ask& ask, const Intake& intake, const bool& stopped);

 private:
  Task<bool> ready(const Uuid& volume, const Intake& intake, const bool& stopped);

  Journal& journal_;
  const Applier& applier_;
};

}  // namespace cascade
