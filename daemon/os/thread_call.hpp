// SPDX-License-Identifier: GPL-2.0-or-later
//
// Ask something of an object that lives on another io_context's thread, or have a pool of threads
// do it, and come back.
#pragma once

#include "daemon/io/clock.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace cascade::os {

/// Runs `call` on `target`'s thread and returns its result on the caller's, which runs on `home`;
/// nothing if that thread has not come to it within `time_max`, because a device holds it or
/// because it has gone. It may still come to it later: what `call` refers to has to outlive
/// `target`.
template <class R, class Call>
Task<std::optional<R>> call_on(Executor home, Clock& clock, Executor target, Duration time_max,
                               Call call) {
  // Outlives whichever of the two ends first. The timer belongs to the caller's thread.
  struct Answer {
    std::optional<R> result;
    std::unique_ptr<Timer> patience;
  };
  const auto answer = std::make_shared<Answer>();
  answer->patience = clock.timer();
  // Named: g++ 12 copies a lambda that stands in a co_await expression bit by bit.
  auto there = [home, answer, call = std::move(call)]() mutable {
    asio::post(home, [answer, result = call()]() mutable {
      answer->result = std::move(result);
      answer->patience->cancel();
    });
  };
  asio::post(target, std::move(there));
  co_await answer->patience->sleep(time_max);
  co_return std::move(answer->result);
}

/// Runs `call` on a thread of `pool`, and returns its result.
template <class R, class Call>
Task<R> run_on(asio::thread_pool& pool, Call call) {
  static_assert(std::is_trivially_copyable_v<Call>, "g++ 12 destroys what is moved into it twice");
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<Executor>&, void(R)>(
      [&pool, call = std::move(call)](auto handler) mutable {
        asio::post(pool, [call = std::move(call), handler = std::move(handler)]() mutable {
          R result = call();
          auto executor = asio::get_associated_executor(handler);
          asio::post(executor, [handler = std::move(handler), result]() mutable {
            std::move(handler)(result);
          });
        });
      },
      use_task);
}

}  // namespace cascade::os
