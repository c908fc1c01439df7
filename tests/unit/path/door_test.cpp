// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who comes in, and what is said to whom that does not. I9.
#include "daemon/path/door.hpp"
#include "tests/double/virtual_node.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

class DoorTest : public testing::Test {
 protected:
  DoorTest() {
    crew.add(door.run(listener));
    world.settle();
  }
  ~DoorTest() override { world.io.abandon(); }

  std::unique_ptr<MemoryStream> come() {
    auto end = listener.connect(world.executor, "10.0.0.9");
    world.settle();
    return std::unique_ptr<MemoryStream>(static_cast<MemoryStream*>(end.release()));
  }
  void say(MemoryStream& stream, const Bytes& bytes) {
    auto& pipe = stream.out();
    pipe.bytes.insert(pipe.bytes.end(), bytes.begin(), bytes.end());
    pipe.notify();
    world.settle();
  }
  /// The text of the refusal that it got.
  std::string told(MemoryStream& stream) {
    const std::span<const std::byte> bytes(stream.in().bytes);
    if (bytes.size() < sizeof(FrameHeader)) return "nothing";
    const auto header = check_header(bytes.first<sizeof(FrameHeader)>());
    return decode_refusal(*header, bytes.subspan(sizeof(FrameHeader), header->length)).text;
  }
  static Bytes hello() { return encode_hello({group, "p1", SessionKind::mirror, {{volume_a}}}, 0); }

  World world;
  Wires wires;
  VirtualListener listener{world.executor, wires, "hub"};
  std::vector<Hello> taken;
  std::vector<std::unique_ptr<Stream>> streams;
  std::optional<Error> refuse;
  Door door{world.executor, world.clock, {}, [this](auto& stream, auto& h) -> Result<void> {
              if (refuse) return *refuse;
              taken.push_back(h);
              streams.push_back(std::move(stream));
              return {};
            }};
  Crew crew{world.executor};
};

TEST_F(DoorTest, HandsOnWhoSaysHello) {
  auto one = come(), two = come();
  say(*two, hello());
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].node, "p1");
  EXPECT_FALSE(two->closed());
  say(*one, hello());
  EXPECT_EQ(taken.size(), 2u);
}

TEST_F(DoorTest, WaitsForAHelloOnlySoLong) {
  auto one = come();
  const Bytes frame = hello();
  say(*one, Bytes(frame.begin(), frame.begin() + 40));
  world.clock.advance(seconds(4));
  world.settle();
  EXPECT_FALSE(one->closed());
  world.clock.advance(seconds(2));
  world.settle();
  EXPECT_TRUE(one->closed());
  EXPECT_TRUE(taken.empty());
}

TEST_F(DoorTest, SaysWhyItTurnsAway) {
  auto one = come();
  say(*one, encode_heartbeat(0));
  EXPECT_THAT(told(*one), HasSubstr("a session begins with a hello"));
  EXPECT_TRUE(one->closed());
  refuse = Error{Errc::refused, "no such group here"};
  auto two = come();
  say(*two, hello());
  EXPECT_THAT(told(*two), HasSubstr("no such group here"));
  EXPECT_TRUE(two->closed());
}

// W3: one EMFILE ended the listener for ever, silently.
TEST_F(DoorTest, TriesAgainWhatItCantAcceptNow) {
  listener.failures = 3;
  auto one = come();
  say(*one, hello());
  EXPECT_TRUE(taken.empty());
  ASSERT_TRUE(door.trouble());
  EXPECT_THAT(door.trouble()->text, HasSubstr("Too many open files"));
  for (int i = 0; i < 3; ++i) {
    world.clock.advance(seconds(1));
    world.settle();
  }
  EXPECT_EQ(taken.size(), 1u);
  world.clock.advance(seconds(1));
  EXPECT_FALSE(door.trouble());
}

TEST_F(DoorTest, GoesWithTheListenerAndThoseWhoWait) {
  auto one = come();
  listener.close();
  world.settle();
  EXPECT_EQ(crew.running(), 1u) << "somebody is at the door";
  one->close();
  world.settle();
  EXPECT_EQ(crew.running(), 0u);
}

}  // namespace
}  // namespace cascade::test
