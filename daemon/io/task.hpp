// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one idiom of the daemon: coroutines on one io_context per consistency group. A Task is
// started with co_await or handed to a Crew, which is its owner; nothing is detached.
// g++ 12 destroys temporaries in a co_await expression twice: arguments with destructors are named.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/intrusive/list.hpp>

#include <exception>
#include <utility>
#include <vector>

namespace cascade {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;

template <class T = void>
using Task = asio::awaitable<T, Executor>;

inline constexpr asio::use_awaitable_t<Executor> use_task{};
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> use_tuple{};

class Signal;

/// The signals of a loop: who waits at one when the loop is given up is destroyed with it.
class Signals : public asio::execution_context::service {
 public:
  using key_type = Signals;
  static asio::execution_context::id id;

  explicit Signals(asio::execution_context& loop) : service(loop) {}
  void add(Signal& signal);
  bool over() const { return over_; }

 private:
  using Hook =
      boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
  friend class Signal;
  void shutdown() override;

  boost::intrusive::list<Hook, boost::intrusive::constant_time_size<false>> all_;
  bool over_ = false;
};

/// A condition to wait for: `while (!what_i_need) co_await signal.wait();`. Everything runs on one
/// thread, so nothing can change between the check and the wait. Not a timer, as Asio's examples
/// have it: that one goes through the reactor's queue and its lock at each wait.
class Signal : public Signals::Hook {
 public:
  explicit Signal(const Executor& executor)
      : executor_(executor), signals_(asio::use_service<Signals>(executor.context())) {
    signals_.add(*this);
  }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal() { notify(); }

  Task<> wait() {
    co_await asio::async_initiate<const asio::use_awaitable_t<Executor>&, void()>(
        [this](auto handler) { waiting_.push_back(std::move(handler)); }, use_task);
  }

  /// Wakes everyone who waits now.
  void notify() {
    if (signals_.over()) return;
    for (Handler& handler : waiting_) asio::post(executor_, std::move(handler));
    waiting_.clear();
  }

 private:
  using Handler = asio::async_result<asio::use_awaitable_t<Executor>, void()>::handler_type;
  friend class Signals;

  Executor executor_;
  Signals& signals_;
  std::vector<Handler> waiting_;
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
