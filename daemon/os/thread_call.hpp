// SPDX-License-Identifier: GPL-2.0-or-later
//
// Ask something of an object that lives on another io_context's thread, and come back.
#pragma once

#include "daemon/io/task.hpp"

#include <boost/asio/post.hpp>

#include <utility>

namespace cascade::os {

/// Runs `call` on `target`'s thread and returns its result on the caller's.
template <class R, class Call>
Task<R> call_on(Executor target, Call call) {
  // Named: g++ 12 copies a lambda that stands in a co_await expression bit by bit.
  auto begin = [target, call = std::move(call)](auto handler) mutable {
    asio::post(target, [call = std::move(call), handler = std::move(handler)]() mutable {
      auto home = asio::get_associated_executor(handler);
      asio::post(home, [handler = std::move(handler), result = call()]() mutable {
        std::move(handler)(std::move(result));
      });
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<Executor>&, void(R)>(
      std::move(begin), use_task);
}

}  // namespace cascade::os
