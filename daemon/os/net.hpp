// SPDX-License-Identifier: GPL-2.0-or-later
// TCP behind the Net seam.
#pragma once

#include "daemon/io/net.hpp"

namespace cascade::os {

class TcpNet final : public Net {
 public:
  /// `silence_max`: how long what is sent on a connection that came in may find no answer. Their
  /// peers always read, unlike ours on those that we make, whose window may be closed for long.
  TcpNet(const Executor& executor, std::chrono::milliseconds silence_max)
      : executor_(executor), silence_max_(silence_max) {}
  /// For connections that come in from now on.
  void set_silence_max(std::chrono::milliseconds silence_max) { silence_max_ = silence_max; }
  Task<Result<std::unique_ptr<Listener>>> listen(const Address& address) override;
  Task<Result<std::unique_ptr<Stream>>> connect(const Address& address,
                                                std::chrono::milliseconds time_max) override;
  Result<std::unique_ptr<Stream>> adopt(std::unique_ptr<Stream> stream) override;

 private:
  Executor executor_;
  std::chrono::milliseconds silence_max_;
};

}  // namespace cascade::os
