// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one idiom of the daemon: coroutines on one io_context per consistency group. A Task is
// started with co_await or handed to a Crew, which is its owner; nothing is detached.
// g++ 12 destroys temporaries in a co_await expression twice: arguments with destructors are named.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <exception>
#include <utility>

namespace cascade {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;

template <class T = void>
using Task = asio::awaitable<T, Executor>;

inline constexpr asio::use_awaitable_t<Executor> use_task{};
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> use_tuple{};

/// A condition to wait for: `while (!what_i_need) co_await signal.wait();`. Everything runs on one
/// thread, so nothing can change between the check and the wait.
class Signal {
 public:
  explicit Signal(const Executor& executor) : timer_(executor, Timer::time_point::max()) {}

  Task<> wait() { co_await timer_.async_wait(use_tuple); }
  /// Wakes everyone who waits now.
  void notify() { timer_.cancel(); }

 private:
  using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                           asio::wait_traits<std::chrono::steady_clock>, Executor>;
  Timer timer_;
};

/// Owner of coroutines: knows how many run, and waits for all of them. Stopping them is the
/// business of whoever handed them in (close a stream, set a flag, notify a signal).
class Crew {
 public:
  explicit Crew(const Executor& executor) : executor_(executor), gone_(executor) {}
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  void add(Task<> task) {
    ++running_;
    asio::co_spawn(executor_, std::move(task), [this](std::exception_ptr failure) {
      // Only a bug or an exhausted memory throws here: better a core file than a half-dead group.
      if (failure) std::rethrow_exception(failure);
      if (--running_ == 0) gone_.notify();
    });
  }

  Task<> join() {
    while (running_ > 0) co_await gone_.wait();
  }

  std::size_t running() const { return running_; }

 private:
  Executor executor_;
  Signal gone_;
  std::size_t running_ = 0;
};

}  // namespace cascade
