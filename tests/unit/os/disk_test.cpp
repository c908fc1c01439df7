// SPDX-License-Identifier: GPL-2.0-or-later
// Files as journals and copies: who may have them.
#include "daemon/os/disk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
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
  {
    const auto first = aio->open(path, true);
    ASSERT_TRUE(first) << first.error().text;
    EXPECT_GE((*first)->block(), 512u);
    const auto second = aio->open(path, true);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().text, testing::HasSubstr("is in use"));
  }
  EXPECT_TRUE(aio->open(path, true));
  std::filesystem::remove(path);
  aio->close();
  io.run();
}

TEST(AioDisks, StandingAsideGivesTheClaimUpAndWritesNothing) {
  const std::string path =
      std::filesystem::current_path() / ("aside-test-" + std::to_string(::getpid()));
  constexpr std::size_t block = 4096;
  std::ofstream(path) << std::string(block, 'x');
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(
      static_cast<std::byte*>(std::aligned_alloc(block, block)), &std::free);
  const std::span<std::byte> buffer(memory.get(), block);
  asio::io_context io{1};
  auto aio = AioContext::create(io);
  auto disk = aio->open(path, true);
  ASSERT_TRUE(disk) << disk.error().text;
  const auto body = [&]() -> Task<> {
    const std::vector<DiskWrite> list{{0, buffer}};
    EXPECT_TRUE((*disk)->step_aside());
    EXPECT_TRUE(aio->open(path, true)) << "somebody else may have it";
    const auto read = co_await (*disk)->read(0, buffer);
    EXPECT_TRUE(read && buffer[0] == std::byte{'x'});
    const auto lost = co_await (*disk)->write(list);
    EXPECT_FALSE(lost);
    const auto flushed = co_await (*disk)->flush();
    EXPECT_TRUE(flushed);
    EXPECT_TRUE((*disk)->reopen());
    EXPECT_FALSE(aio->open(path, true)) << "it is claimed again";
    const auto written = co_await (*disk)->write(list);
    EXPECT_TRUE(written);
    aio->close();
  };
  Crew crew(io.get_executor());
  crew.add(body());
  io.run();
  std::filesystem::remove(path);
}

// W9: what the kernel does not take at once waits; it is no error.
TEST(AioDisks, TakeMoreThanMayBeUnderWay) {
  const std::string path =
      std::filesystem::current_path() / ("burst-test-" + std::to_string(::getpid()));
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 8 << 20);
  constexpr std::size_t block = 4096, writes = 1000;
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(
      static_cast<std::byte*>(std::aligned_alloc(block, 2 * writes * block)), &std::free);
  const std::span<std::byte> wrote(memory.get(), writes * block),
      read(memory.get() + writes * block, writes * block);
  for (std::size_t i = 0; i < wrote.size(); ++i) wrote[i] = std::byte(i / block + i % 7);
  asio::io_context io{1};
  auto aio = AioContext::create(io);
  auto disk = aio->open(path, true);
  ASSERT_TRUE(disk) << disk.error().text;
  const auto write_some = [&](std::size_t from, std::size_t to) -> Task<> {
    std::vector<DiskWrite> list;
    for (std::size_t i = from; i < to; ++i)
      list.push_back({i * block, wrote.subspan(i * block, block)});
    const auto written = co_await (*disk)->write(list);
    EXPECT_TRUE(written) << written.error().text;
  };
  Crew crew(io.get_executor());
  for (std::size_t part = 0; part < 4; ++part)
    crew.add(write_some(part * writes / 4, (part + 1) * writes / 4));
  while (crew.running() > 0) io.run_one();
  const auto read_back = [&]() -> Task<> {
    const auto got = co_await (*disk)->read(0, read);
    EXPECT_TRUE(got) << got.error().text;
    aio->close();
  };
  crew.add(read_back());
  io.run();
  EXPECT_TRUE(std::equal(wrote.begin(), wrote.end(), read.begin()));
  std::filesystem::remove(path);
}

// In slices, whose ends are not where the range begins: nothing of it is left out, nothing beside
// it touched.
TEST(AioDisks, ZeroARangeThatIsNoMultipleOfASlice) {
  const std::string path =
      std::filesystem::current_path() / ("zero-test-" + std::to_string(::getpid()));
  constexpr std::size_t size = 16 << 20, from = (3 << 20) + 4096, through = (13 << 20) + 8192;
  std::ofstream(path) << std::string(size, 'x');
  asio::io_context io{1};
  auto aio = AioContext::create(io);
  {
    auto disk = aio->open(path, true);
    ASSERT_TRUE(disk) << disk.error().text;
    const auto zero = [&](bool unmap, std::size_t at, std::size_t end) -> Task<> {
      const auto zeroed = co_await (*disk)->zero(at, end - at, unmap);
      EXPECT_TRUE(zeroed) << zeroed.error().text;
      if (!unmap) aio->close();
    };
    Crew crew(io.get_executor());
    crew.add(zero(true, from, 8 << 20));
    while (crew.running() > 0) io.run_one();
    crew.add(zero(false, 8 << 20, through));
    io.run();
  }
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, std::string(from, 'x') + std::string(through - from, '\0') +
                      std::string(size - through, 'x'));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace cascade::os
