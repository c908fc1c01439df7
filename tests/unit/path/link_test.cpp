// SPDX-License-Identifier: GPL-2.0-or-later
//
// A primary's side: its rings as a feed, and the link that carries them to a hub played by the
// test. I7, I9.
#include "daemon/path/link.hpp"
#include "daemon/path/ring_feed.hpp"
#include "tests/double/virtual_node.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class RingFeedTest : public testing::Test {
 protected:
  RingFeedTest() {
    for (const auto& [name, uuid] :
         {std::pair{"orders", volume_a}, std::pair{"ledger", volume_b}}) {
      configs.push_back({name, uuid, "p1", {}, 1 << 20});
      kernel[uuid] = std::make_unique<VirtualVolume>(uuid);
    }
    feed.emplace(world.executor, world.clock, host, "shop",
                 std::vector<const VolumeConfig*>{&configs[0], &configs[1]});
    crew.add(feed->run());
    world.settle();
  }
  ~RingFeedTest() override { world.io.abandon(); }

  /// What a hub says that takes both volumes, or refuses the second.
  static Welcome welcome(std::uint64_t received, bool refuse = false) {
    Welcome w{"h",
              {Answer{{volume_a, received, received}}, Answer{{volume_b, received, received}}},
              group};
    if (refuse) w.streams[1].refusal = Error{Errc::refused, "not this one"};
    return w;
  }
  Result<void> begin(const Welcome& w) {
    (void)feed->streams();
    return world.get(feed->begin(w));
  }
  RingFeed::VolumeStatus status(const std::string& name) {
    for (const auto& v : feed->status())
      if (v.config->name == name) return v;
    throw std::logic_error(name);
  }
  std::string believes(const Ack& ack) {
    const auto done = feed->acked(std::span(&ack, 1));
    return done ? "believed" : done.error().text;
  }

  World world;
  std::vector<VolumeConfig> configs = [] {
    std::vector<VolumeConfig> v;
    v.reserve(2);
    return v;
  }();
  VirtualRings::Volumes kernel;
  VirtualRings host{world.executor, kernel};
  std::optional<RingFeed> feed;
  Crew crew{world.executor};
};

TEST_F(RingFeedTest, OffersItsRingsWithWhatTheirAreasSay) {
  kernel[volume_a]->shape.numbered = true;
  kernel[volume_a]->shape.end_seq = 7;
  const auto streams = feed->streams();
  ASSERT_EQ(streams.size(), 2u);
  EXPECT_TRUE(streams[0].fresh && streams[0].numbered && !streams[0].clean);
  EXPECT_EQ(streams[0].end_seq, 7u);
  EXPECT_EQ(streams[0].generation, kernel[volume_a]->shape.generation);
  EXPECT_EQ(streams[0].bytes, VirtualVolume::sectors * 512);
}

TEST_F(RingFeedTest, NumbersAFreshRingAndRemembersTheHubsJournal) {
  ASSERT_TRUE(begin(welcome(40)));
  EXPECT_EQ(kernel[volume_a]->write(0, pattern(512, 1)), 41u);
  EXPECT_EQ(kernel[volume_a]->shape.journal, group);
  const auto out = world.get(feed->next());
  ASSERT_TRUE(out && *out);
  EXPECT_EQ(volume_seq_of((*out)->pieces[0].records[0]), 41u);
}

TEST_F(RingFeedTest, GoesOnWithoutWhatIsRefusedAndAsksAgain) {
  ASSERT_TRUE(begin(welcome(0, true)));
  EXPECT_TRUE(status("ledger").refused);
  EXPECT_EQ(status("ledger").reason, "not this one");
  EXPECT_FALSE(status("orders").refused);
  kernel[volume_a]->write(0, pattern(512, 1));
  EXPECT_TRUE(*world.get(feed->next()));
  world.clock.advance(seconds(1));
  world.settle();
  const auto next = world.get(feed->next());
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, Errc::closed) << "a new session asks for all of them";
  ASSERT_TRUE(begin(welcome(0)));
  EXPECT_FALSE(status("ledger").refused);
}

TEST_F(RingFeedTest, DoesNotBelieveAcknowledgementsOfWhatWasNotSent) {
  ASSERT_TRUE(begin(welcome(0)));
  kernel[volume_a]->write(0, pattern(512, 1));
  EXPECT_THAT(believes({volume_a, 1, 1}), HasSubstr("which was not sent: the last one was 0"));
  EXPECT_THAT(believes({group, 0, 0}), HasSubstr("a volume that we did not name"));
  ASSERT_TRUE(*world.get(feed->next()));
  EXPECT_EQ(believes({volume_a, 1, 1}), "believed");
  kernel[volume_a]->ring().doorbell();
  EXPECT_EQ(kernel[volume_a]->ring().stored(), 1u);
}

// P10: told to the hub at once, not at the next accident of the link.
TEST_F(RingFeedTest, TellsTheHubOfADifferenceThatIsNew) {
  ASSERT_TRUE(begin(welcome(0)));
  kernel[volume_a]->write(0, pattern(512, 1));
  ASSERT_TRUE(*world.get(feed->next()));
  kernel[volume_a]->ring().kernel_words().differs = CASCADE_DIFFERS_LOCAL;
  kernel[volume_a]->ring().kernel_words().local_errors = 3;
  EXPECT_EQ(believes({volume_a, 1, 1}), "believed");
  EXPECT_EQ(world.get(feed->next()).error().code, Errc::closed);
  EXPECT_EQ(feed->streams()[0].differs, CASCADE_DIFFERS_LOCAL);
  EXPECT_EQ(status("orders").local_errors, 3u);
}

// K6: the hub has to compare it with its copy before a write is there.
TEST_F(RingFeedTest, TellsTheHubOfANewSize) {
  ASSERT_TRUE(begin(welcome(0)));
  const std::uint64_t before = feed->streams()[0].bytes;
  kernel[volume_a]->ring().kernel_words().sectors = before / 512 + 8;
  EXPECT_EQ(believes({volume_a, 0, 0}), "believed");
  EXPECT_EQ(world.get(feed->next()).error().code, Errc::closed);
  EXPECT_EQ(feed->streams()[0].bytes, before + 4096);
}

// Both ends have to be able to.
TEST_F(RingFeedTest, ComparesBeforeItCopiesWhereTheHubAnswers) {
  kernel[volume_a]->doubt_all();
  kernel[volume_b]->doubt_all();
  ASSERT_TRUE(begin(welcome(0)));
  world.settle();
  EXPECT_TRUE(kernel[volume_a]->resync_wanted) << "a hub that does not answer";
  EXPECT_FALSE(feed->has_asks());
  feed->end();
  EXPECT_FALSE(kernel[volume_a]->resync_wanted);
  Welcome answers = welcome(0);
  answers.answers_asks = true;
  ASSERT_TRUE(begin(answers));
  world.settle();
  EXPECT_FALSE(kernel[volume_a]->resync_wanted || kernel[volume_b]->resync_wanted);
  ASSERT_TRUE(feed->has_asks());
  const auto asks = feed->asks();
  EXPECT_EQ(asks.size(), limits::asks_max) << "half of them of each volume";
  EXPECT_EQ(asks.front().volume, volume_a);
  EXPECT_EQ(asks.back().volume, volume_b);
  EXPECT_FALSE(feed->has_asks());
  const Sum other{{volume_b, 1 << 20, 4096}};
  EXPECT_FALSE(feed->answered(std::span(&other, 1)));
  const Sum unknown{asks.front()};
  ASSERT_TRUE(feed->answered(std::span(&unknown, 1)));
  world.settle();
  EXPECT_TRUE(kernel[volume_a]->resync_wanted);
  EXPECT_FALSE(kernel[volume_b]->resync_wanted) << "that one is compared still";
}

/// Offers one volume and keeps what it is told.
class OneStream final : public Feed {
 public:
  explicit OneStream(const Executor& executor) : work_(executor) {}
  SessionKind kind() const override { return SessionKind::mirror; }
  Task<> wait_for_streams() override { return wait(); }
  std::vector<Hello::Stream> streams() override { return {{volume_a, 1, 5}}; }
  Uuid journal() const override { return {}; }
  Task<Result<void>> begin(const Welcome&) override { co_return Result<void>{}; }
  void end() override {}
  Task<Result<std::optional<Outgoing>>> next() override {
    using Answer = Result<std::optional<Outgoing>>;
    if (std::exchange(changed, false)) co_return Error{Errc::closed, "other streams"};
    if (std::exchange(has_data, false)) co_return Answer(Outgoing{});
    co_return Answer(std::nullopt);
  }
  Task<> wait() override { co_await work_.wait(); }
  void wake() override { work_.notify(); }
  Result<void> acked(std::span<const Ack> acks) override {
    last.assign(acks.begin(), acks.end());
    return {};
  }
  Result<void> told(std::uint64_t) override { return {}; }
  std::uint64_t tally() const override { return 0; }
  void link_state(LinkState s) override { states.push_back(s); }

  bool has_data = false;
  bool changed = false;
  std::vector<Ack> last;
  std::vector<LinkState> states;

 private:
  Signal work_;
};

class LinkTest : public testing::Test {
 protected:
  LinkTest() {
    link.emplace(world.executor, world.clock, net,
                 SessionTimes{seconds(1), seconds(10), milliseconds(100), seconds(1)}, "p1", group,
                 "shop", hub, feed);
    crew.add(link->run());
    connect();
  }
  ~LinkTest() override { world.io.abandon(); }

  /// The hub's end of the next connection.
  void connect() {
    crew.add([](LinkTest& t) -> Task<> {
      auto came = co_await t.listener.accept();
      t.peer.reset(static_cast<MemoryStream*>(came->release()));
    }(*this));
    world.settle();
  }
  void say(const Bytes& frame) {
    auto& pipe = peer->out();
    pipe.bytes.insert(pipe.bytes.end(), frame.begin(), frame.end());
    pipe.notify();
    world.settle();
  }
  FrameType first_heard() {
    const auto header =
        check_header(std::span<const std::byte>(peer->in().bytes).first<sizeof(FrameHeader)>());
    return static_cast<FrameType>(header->type);
  }
  static Bytes welcome_of(const std::string& node) {
    return encode_welcome(Welcome{node, {Answer{{volume_a, 2, 1}}}});
  }

  World world;
  Wires wires;
  VirtualListener listener{world.executor, wires, "hub"};
  VirtualNet net{world.executor, wires, "p1"};
  NodeConfig hub{"h", "hub", {"hub", 1}};
  OneStream feed{world.executor};
  Crew crew{world.executor};
  std::unique_ptr<MemoryStream> peer;
  std::optional<Link> link;
};

TEST_F(LinkTest, SaysHelloAndIsConnectedOnceItIsWelcome) {
  ASSERT_TRUE(peer);
  EXPECT_EQ(first_heard(), FrameType::hello);
  EXPECT_FALSE(link->status().connected);
  say(welcome_of("h"));
  EXPECT_TRUE(link->status().connected);
  EXPECT_EQ(feed.states.back(), LinkState::up);
  Bytes acks;
  encode_acks(std::array{Ack{volume_a, 4, 3}}, 0, acks);
  say(acks);
  ASSERT_EQ(feed.last.size(), 1u);
  EXPECT_EQ(feed.last[0].stored, 3u);
}

TEST_F(LinkTest, NamesANodeThatIsNotTheOneItWants) {
  say(welcome_of("x"));
  EXPECT_THAT(link->status().reason, HasSubstr("answers as node x"));
  EXPECT_TRUE(peer->closed());
}

TEST_F(LinkTest, PassesOnWhyItWasRefused) {
  say(encode_refusal(Errc::refused, "you are not in my file"));
  EXPECT_THAT(link->status().reason, HasSubstr("you are not in my file"));
}

TEST_F(LinkTest, GivesUpAHubThatIsSilentAndComesAgain) {
  say(welcome_of("h"));
  for (int i = 0; i < 12; ++i) {
    world.clock.advance(seconds(1));
    world.settle();
  }
  EXPECT_FALSE(link->status().connected);
  EXPECT_THAT(link->status().reason, HasSubstr("silent for too long"));
  connect();
  world.clock.advance(seconds(1));
  world.settle();
  EXPECT_EQ(first_heard(), FrameType::hello);
  say(welcome_of("h"));
  EXPECT_EQ(link->status().sessions, 2u);
}

/// A session that begins anew with other streams is no interruption to whoever looks.
TEST_F(LinkTest, IsThereWhileItBeginsAnew) {
  say(welcome_of("h"));
  feed.changed = true;
  feed.wake();
  connect();
  EXPECT_FALSE(link->status().connected);
  EXPECT_TRUE(link->status().renewing);
  say(welcome_of("h"));
  EXPECT_TRUE(link->status().connected);
  EXPECT_FALSE(link->status().renewing);
  peer->close();
  world.settle();
  EXPECT_FALSE(link->status().connected || link->status().renewing);
}

// W7: a refusal right behind the welcome gave ten sessions and twenty lines a second.
TEST_F(LinkTest, ComesLessOftenToAHubThatEndsEachSessionAtOnce) {
  for (int tenths = 0; tenths < 600; ++tenths) {
    if (peer && !peer->closed()) {
      say(welcome_of("h"));
      say(encode_refusal(Errc::corrupt, "a batch is damaged"));
      connect();
    }
    world.clock.advance(milliseconds(100));
    world.settle();
  }
  EXPECT_LE(link->status().sessions, 64u) << "in a minute, with reconnect-max 1s";
  EXPECT_GE(link->status().sessions, 50u);
  EXPECT_THAT(link->status().reason, HasSubstr("a batch is damaged"));
}

// W2: a window that the hub has closed, and a silence of ours, are no death: its heartbeats are
// life.
TEST_F(LinkTest, WaitsForAHubThatDoesNotReadAsLongAsItIsHeard) {
  peer->in().room = 1;
  say(welcome_of("h"));
  for (int i = 0; i < 40; ++i) {
    world.clock.advance(seconds(1));
    Bytes beat;
    encode_acks({}, 0, beat);
    say(beat);
  }
  EXPECT_TRUE(link->status().connected);
  EXPECT_EQ(link->status().sessions, 1u);
}

TEST_F(LinkTest, NamesAPathThatLosesLargePackets) {
  say(welcome_of("h"));
  const auto beat = [&] {
    world.clock.advance(seconds(1));
    say(encode_heartbeat(0));
  };
  // Its end of the connection is in the link's hands; what its kernel knows is told here.
  auto& ours = *listener.last_caller;
  ours.transit_now = {2, 1448, true};
  beat();
  EXPECT_EQ(link->status().loss, "");
  ours.transit_now.resent = 3;
  beat();
  EXPECT_THAT(link->status().loss, HasSubstr("packets of 1448 bytes were sent 4 times in vain"));
  EXPECT_TRUE(link->status().connected);
  feed.has_data = true;
  feed.wake();
  ours.transit_now = {0, 960, false};
  beat();
  beat();
  EXPECT_EQ(link->status().loss, "");
}

TEST_F(LinkTest, EndsWhereverTheStreamEnds) {
  const Bytes frame = welcome_of("h");
  for (std::size_t cut = 0; cut < frame.size(); cut += 13) {
    say(Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(cut)));
    peer->close();
    world.settle();
    EXPECT_FALSE(link->status().connected) << cut;
    connect();
    world.clock.advance(seconds(1));
    world.settle();
  }
  say(frame);
  EXPECT_TRUE(link->status().connected);
}

TEST_F(LinkTest, EndsASessionThatSaysNonsense) {
  say(welcome_of("h"));
  say(Bytes(64, std::byte{0x5a}));
  EXPECT_FALSE(link->status().connected);
  EXPECT_TRUE(peer->closed());
}

}  // namespace
}  // namespace cascade::test
