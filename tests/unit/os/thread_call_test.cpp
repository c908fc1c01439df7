// SPDX-License-Identifier: GPL-2.0-or-later
// A question to another thread, with an answer that owns memory both ways.
#include "daemon/os/thread_call.hpp"

#include "daemon/os/clock.hpp"
#include "daemon/os/worker.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

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

// A job that owns memory, as all that capture more than two words do.
TEST(ThreadWorkerTest, ComputesBesideAndComesBack) {
  asio::io_context io;
  ThreadWorker worker;
  Crew crew(io.get_executor());
  const auto here = std::this_thread::get_id();
  std::vector<std::thread::id> there;
  const auto work = [&](const std::string& word) -> Task<> {
    std::string result;
    const std::function<void()> job = [&there, &result, word] {
      there.push_back(std::this_thread::get_id());
      result = word + word;
    };
    for (int i = 0; i < 3; ++i) co_await worker.run(job);
    EXPECT_EQ(result, word + word);
  };
  const std::string word(100, 'x');
  crew.add(work(word));
  io.run();
  ASSERT_EQ(there.size(), 3u);
  for (const auto& thread : there) EXPECT_NE(thread, here);
}

}  // namespace
}  // namespace cascade::os
