// SPDX-License-Identifier: GPL-2.0-or-later
//
// The module's character device behind the Ring seam.
#pragma once

#include "daemon/io/ring.hpp"

namespace cascade::os {

class KernelRings final : public RingHost {
 public:
  explicit KernelRings(const Executor& executor) : executor_(executor) {}
  Result<std::unique_ptr<Ring>> attach(const Uuid& volume) override;

 private:
  Executor executor_;
};

}  // namespace cascade::os
