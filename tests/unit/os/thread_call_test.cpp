// SPDX-License-Identifier: GPL-2.0-or-later
// A question to another thread, with an answer that owns memory both ways.
#include "daemon/os/thread_call.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace cascade::os {
namespace {

Task<std::string> ask(Executor there, std::string question) {
  const auto answer = [question] { return question + ", answered by another thread"; };
  co_return co_await call_on<std::string>(there, answer);
}

TEST(ThreadCall, TakesWhatItIsGivenThereAndBack) {
  asio::io_context here, there;
  auto work = asio::make_work_guard(there);
  std::thread other([&] { there.run(); });
  std::string answer;
  asio::co_spawn(here, ask(there.get_executor(), std::string(100, 'x')),
                 [&](std::exception_ptr, std::string got) { answer = std::move(got); });
  here.run();
  work.reset();
  other.join();
  EXPECT_EQ(answer, std::string(100, 'x') + ", answered by another thread");
}

}  // namespace
}  // namespace cascade::os
