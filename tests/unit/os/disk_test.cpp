// SPDX-License-Identifier: GPL-2.0-or-later
// Files as journals and copies: who may have them.
#include "daemon/os/disk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <unistd.h>

namespace cascade::os {
namespace {

// P13: a second daemon, or a file that is a journal and a copy in one configuration.
TEST(AioDisks, AFileHasOneOwner) {
  // Where direct I/O works: a file system in memory has none.
  const std::string path =
      std::filesystem::current_path() / ("owner-test-" + std::to_string(::getpid()));
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 1 << 20);
  asio::io_context io{1};
  auto aio = AioContext::create(io);
  ASSERT_TRUE(aio) << aio.error().text;
  {
    const auto first = (*aio)->open(path, true);
    ASSERT_TRUE(first) << first.error().text;
    EXPECT_GE((*first)->block(), 512u);
    const auto second = (*aio)->open(path, true);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().text, testing::HasSubstr("is in use"));
  }
  EXPECT_TRUE((*aio)->open(path, true));
  std::filesystem::remove(path);
  (*aio)->close();
  io.run();
}

}  // namespace
}  // namespace cascade::os
