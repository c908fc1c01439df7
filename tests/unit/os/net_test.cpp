// SPDX-License-Identifier: GPL-2.0-or-later
// Real sockets on loopback: handing a connection from one thread's net to another's.
#include "daemon/os/net.hpp"

#include <gmock/gmock.h>

#include <array>
#include <optional>

#include <unistd.h>

namespace cascade::os {
namespace {

class Connections : public testing::Test {
 protected:
  void SetUp() override {
    crew.add(listen());
    io.run();
    io.restart();
    ASSERT_TRUE(listener) << why;
    crew.add(accept_one());
    crew.add(connect_one());
    io.run();
    io.restart();
    ASSERT_TRUE(accepted && connected);
  }

  Task<> listen() {
    auto made = co_await net.listen(address);
    if (made)
      listener = std::move(*made);
    else
      why = made.error().text;
  }
  Task<> accept_one() {
    auto stream = co_await listener->accept();
    if (stream) accepted = std::move(*stream);
  }
  Task<> connect_one() {
    auto stream = co_await net.connect(address, std::chrono::seconds(5));
    if (stream) connected = std::move(*stream);
  }
  Task<> send_and_receive(Stream& from, Stream& to) {
    const std::array<std::byte, 3> sent{std::byte{1}, std::byte{2}, std::byte{3}};
    const std::array buffers{asio::const_buffer(sent.data(), sent.size())};
    EXPECT_TRUE(co_await from.write(buffers));
    std::array<std::byte, 8> got{};
    const auto n = co_await to.read_some(got);
    EXPECT_TRUE(n && *n == sent.size() && got[2] == std::byte{3});
  }

  asio::io_context io{1}, other{1};
  Crew crew{io.get_executor()};
  TcpNet net{io.get_executor(), std::chrono::seconds(10)},
      others_net{other.get_executor(), std::chrono::seconds(10)};
  Address address{"127.0.0.1", static_cast<std::uint16_t>(20000 + ::getpid() % 10000)};
  std::string why;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> accepted, connected;
};

TEST_F(Connections, TakeACongestionControlThatTheSystemHas) {
  EXPECT_TRUE(connected->set_congestion_control("reno")) << "each kernel has it";
  const auto set = connected->set_congestion_control("nothing");
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().text, testing::HasSubstr("nothing is not to be had"));
  crew.add(send_and_receive(*connected, *accepted));
  io.run();
}

TEST_F(Connections, AreHandedOnWhole) {
  EXPECT_EQ(accepted->peer_host(), "127.0.0.1");
  auto adopted = others_net.adopt(std::move(accepted));
  ASSERT_TRUE(adopted);
  EXPECT_EQ((*adopted)->peer_host(), "127.0.0.1");
  Crew theirs(other.get_executor());
  theirs.add(send_and_receive(**adopted, **adopted));
  crew.add(send_and_receive(*connected, *connected));
  // Each side reads what the other has written.
  while (crew.running() + theirs.running() > 0) {
    io.poll();
    io.restart();
    other.poll();
    other.restart();
  }
}

TEST_F(Connections, SayWhatIsWrongWithAnAddress) {
  EXPECT_TRUE(listener->is_loopback());
  crew.add(listen());
  io.run();
  io.restart();
  EXPECT_THAT(why, testing::HasSubstr("Address already in use; is another daemon running?"));
  address.host = "192.0.2.1";  // of documentation: nobody has it
  crew.add(listen());
  io.run();
  EXPECT_THAT(why, testing::HasSubstr("it is not an address of this machine (yet)"));
}

// H5: its time ran out while its hello arrived; this threw, and ended every group.
TEST_F(Connections, ThatWereClosedMeanwhileAreNotHandedOn) {
  accepted->close();
  const auto adopted = others_net.adopt(std::move(accepted));
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().code, Errc::closed);
}

}  // namespace
}  // namespace cascade::os
