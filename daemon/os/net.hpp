// SPDX-License-Identifier: GPL-2.0-or-later
// TCP behind the Net seam.
#pragma once

#include "daemon/io/net.hpp"

namespace cascade::os {

class TcpNet final : public Net {
 public:
  explicit TcpNet(const Executor& executor) : executor_(executor) {}
  Task<Result<std::unique_ptr<Listener>>> listen(const Address& address) override;
  Task<Result<std::unique_ptr<Stream>>> connect(const Address& address,
                                                std::chrono::milliseconds time_max) override;
  Result<std::unique_ptr<Stream>> adopt(std::unique_ptr<Stream> stream) override;

 private:
  Executor executor_;
};

}  // namespace cascade::os
