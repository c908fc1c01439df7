// SPDX-License-Identifier: GPL-2.0-or-later
// A question to another thread, with an answer that owns memory both ways.
#include "daemon/os/thread_call.hpp"

#include "daemon/os/clock.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace cascade::os {
namespace {

using std::chrono::milliseconds;

class ThreadCall : public testing::Test {
 protected:
  Task<> ask(std::string question, milliseconds time_max) {
    const auto call = [question] { return question + ", answered by another thread"; };
    answer = co_await call_on<std::string>(here.get_executor(), clock, there.get_executor(),
                                           time_max, call);
  }

  asio::io_context here, there;
  SystemClock clock{here.get_executor()};
  Crew crew{here.get_executor()};
  std::optional<std::string> answer;
};

TEST_F(ThreadCall, TakesWhatItIsGivenThereAndBack) {
  auto work = asio::make_work_guard(there);
  std::thread other([&] { there.run(); });
  crew.add(ask(std::string(100, 'x'), milliseconds(60'000)));
  here.run();
  work.reset();
  other.join();
  EXPECT_EQ(answer, std::string(100, 'x') + ", answered by another thread");
}

// W13: status of all groups hung while one group's disk did.
TEST_F(ThreadCall, DoesNotWaitForAThreadThatHangs) {
  crew.add(ask("anybody there", milliseconds(20)));
  here.run();
  EXPECT_FALSE(answer);
  // It comes too late, to nobody.
  there.run();
  here.restart();
  here.run();
  EXPECT_FALSE(answer);
}

}  // namespace
}  // namespace cascade::os
