// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sessions over a stream in memory: what a receiver answers, what a feed believes of
// acknowledgements, who gets in. I9.
#include "daemon/path/journal_feed.hpp"
#include "daemon/path/receiver.hpp"
#include "daemon/path/strangers.hpp"
#include "tests/double/memory_stream.hpp"
#include "tests/unit/path/journal_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

/// Takes everything, and acknowledges what the journal has.
class AnyIntake final : public Intake {
 public:
  explicit AnyIntake(Journal& journal) : journal_(journal) {}
  Result<Welcome> open(const Hello&, EndSession) override {
    return Welcome{"", {Answer{{volume_a, 0, 0}}}};
  }
  void close() override {}
  Duration pause() const override { return wait; }
  Duration wait{};
  Result<void> take(Incoming in) override {
    for (Record& record : in.records) set_group_seq(record, journal_.next_seq());
    journal_.append(std::move(in));
    return {};
  }
  void told(std::uint64_t) override {}
  std::uint64_t tally(bool) override { return 0; }
  void acks(std::vector<Ack>& out) const override {
    out.assign(1, {volume_a, journal_.received_seq(), journal_.stored_seq()});
  }
  bool acks_receipt() const override { return true; }
  std::optional<std::uint64_t> comparable_from(const Uuid&) const override { return from; }
  std::optional<std::uint64_t> from = 0;
  std::optional<Report> report() const override { return now_is; }
  std::optional<Report> now_is;

 private:
  Journal& journal_;
};

Bytes data_frame(std::uint64_t volume_seq, bool damaged = false) {
  const auto payload = pattern(4096, 1);
  const Record record = make_record(volume_seq, payload);
  const auto records = std::as_bytes(std::span(&record, 1));
  const FrameHeader header =
      make_header(FrameType::data, static_cast<std::uint32_t>(records.size() + payload.size()), 1,
                  0, crc32c(records) + (damaged ? 1 : 0));
  Bytes out;
  for (const auto part :
       {std::as_bytes(std::span(&header, 1)), records, std::span<const std::byte>(payload)})
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

class ReceiverSession : public testing::Test {
 protected:
  void SetUp() override {
    format(disk);
    run.emplace(world, disk);
    begin(false);
  }
  /// A session, after the one before.
  void begin(bool takes_reports) {
    if (receiver) receiver->stop("another one begins");
    world.settle();
    const auto report = intake != nullptr ? intake->now_is : std::nullopt;
    auto [ours, theirs] = MemoryStream::pair(world.executor);
    peer = std::move(theirs);
    link.peer = "p1";
    auto any = std::make_unique<AnyIntake>(run->journal);
    intake = any.get();
    intake->now_is = report;
    receiver.emplace(world.executor, world.clock,
                     SessionTimes{seconds(1), seconds(10), seconds(1), seconds(1)}, "h",
                     run->journal, std::move(ours), std::move(any), link);
    prepare();
    crew.emplace(world.executor);
    Hello hello{group, "p1", SessionKind::mirror, {}};
    hello.takes_reports = takes_reports;
    crew->add(receiver->run(std::move(hello)));
    world.settle();
  }
  virtual void prepare() {}
  void TearDown() override {
    receiver->stop("the test is over");
    disk.hold_writes(false);
    (void)run->stop_in_order();
    EXPECT_EQ(crew->running(), 0u);
  }
  void send(const Bytes& frame) {
    auto& pipe = peer->out();
    pipe.bytes.insert(pipe.bytes.end(), frame.begin(), frame.end());
    pipe.notify();
    world.settle();
  }
  struct Frame {
    FrameHeader header;
    std::span<const std::byte> body;
  };
  /// What has arrived at the peer.
  std::vector<Frame> frames() {
    std::vector<Frame> out;
    std::span<const std::byte> bytes(peer->in().bytes);
    while (bytes.size() >= sizeof(FrameHeader)) {
      const auto header = check_header(bytes.first<sizeof(FrameHeader)>());
      EXPECT_TRUE(header);
      out.push_back({*header, bytes.subspan(sizeof(FrameHeader), header->length)});
      bytes = bytes.subspan(sizeof(FrameHeader) + header->length);
    }
    EXPECT_TRUE(bytes.empty());
    return out;
  }
  /// The same, by type.
  std::vector<FrameType> answers() {
    std::vector<FrameType> out;
    for (const Frame& frame : frames()) out.push_back(static_cast<FrameType>(frame.header.type));
    return out;
  }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
  std::optional<RunningJournal> run;
  std::unique_ptr<MemoryStream> peer;
  AnyIntake* intake = nullptr;
  LinkStatus link;
  std::optional<Receiver> receiver;
  std::optional<Crew> crew;
};

TEST_F(ReceiverSession, AcknowledgesWhatIsStored) {
  send(data_frame(1));
  EXPECT_EQ(run->journal.stored_seq(), 1u);
  EXPECT_EQ(answers().front(), FrameType::welcome);
  EXPECT_EQ(answers().back(), FrameType::ack);
}

TEST_F(ReceiverSession, SaysWhatIsWrongWithAFrameAndEnds) {
  send(data_frame(1, true));
  EXPECT_EQ(answers().back(), FrameType::refuse);
  EXPECT_TRUE(peer->closed());
  EXPECT_THAT(link.reason, HasSubstr("checksum"));
}

/// With a copy of volume a, and a sender that compares before it copies.
class AskedSession : public ReceiverSession {
 protected:
  static constexpr std::uint64_t copy_bytes = 1 << 20;

  void SetUp() override {
    format(disk);
    run.emplace(world, disk);
    Applier::Copies copies;
    auto memory = std::make_unique<MemoryDisk>(world.executor, "copy", copy_bytes);
    copy = memory.get();
    copy->image()[5000] = std::byte{7};
    copies[volume_a] = std::move(memory);
    applier.emplace(world.executor, world.clock, run->journal, std::move(copies), "shop",
                    [] { return ~std::uint64_t{0}; });
    run->crew.add(applier->run());
    world.settle();
    begin(false);
  }
  void TearDown() override {
    applier->stop();
    ReceiverSession::TearDown();
  }
  void prepare() override { receiver->answer_from(*applier); }
  void ask(const std::vector<Ask>& asks) { send(encode_asks(asks, 0)); }
  std::optional<ContentSum> sum_here(std::uint64_t begin, std::uint64_t bytes) {
    return content_sum(std::span(copy->image()).subspan(begin, bytes));
  }
  /// All that was answered, in order.
  std::vector<Sum> sums() {
    std::vector<Sum> out;
    for (const Frame& frame : frames()) {
      if (frame.header.type != static_cast<std::uint16_t>(FrameType::sums)) continue;
      const auto some = decode_sums(frame.header, frame.body);
      EXPECT_TRUE(some);
      out.insert(out.end(), some->begin(), some->end());
    }
    return out;
  }

  MemoryDisk* copy = nullptr;
  std::optional<Applier> applier;
};

TEST_F(AskedSession, SaysWhatItsCopyHolds) {
  ask({{volume_a, 4096, 4096}, {volume_a, 0, 4096}});
  ask({{volume_a, copy_bytes - 512, 1024}, {volume_b, 0, 4096}});
  const auto all = sums();
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].sum, sum_here(4096, 4096));
  EXPECT_EQ(all[1].sum, sum_here(0, 4096));
  EXPECT_NE(all[0].sum, all[1].sum);
  EXPECT_FALSE(all[2].sum) << "behind its end";
  EXPECT_FALSE(all[3].sum) << "no copy";
}

TEST_F(AskedSession, WaitsUntilItsCopyCanBeCompared) {
  intake->from = 1;
  ask({{volume_a, 0, 8192}});
  EXPECT_TRUE(sums().empty());
  intake->from.reset();
  send(data_frame(1));
  EXPECT_EQ(applier->applied_seq(), 1u);
  EXPECT_TRUE(sums().empty()) << "not known yet";
  intake->from = 1;
  world.clock.advance(seconds(1));
  world.settle();
  ASSERT_EQ(sums().size(), 1u);
  EXPECT_EQ(sums()[0].sum, sum_here(0, 8192));
}

// What stands behind a bracket's limit would undo what was taken for the same.
TEST_F(AskedSession, SaysNothingOfACopyThatStandsBeforeWhatHasToBeInIt) {
  run->journal.append(one_mark(CASCADE_MARK_DETACHED, 1));
  world.settle();
  intake->from = 1;
  ask({{volume_a, 0, 8192}});
  ASSERT_EQ(sums().size(), 1u);
  EXPECT_FALSE(sums()[0].sum);
}

TEST_F(AskedSession, SaysNothingOfACopyThatFails) {
  copy->fail(MemoryDisk::Fault::reads);
  ask({{volume_a, 0, 8192}});
  ASSERT_EQ(sums().size(), 1u);
  EXPECT_FALSE(sums()[0].sum);
  EXPECT_FALSE(peer->closed());
}

TEST_F(AskedSession, TakesNoMoreQuestionsThanItHasRoomFor) {
  intake->from.reset();
  ask(std::vector<Ask>(limits::asks_max, {volume_a, 0, 512}));
  EXPECT_FALSE(peer->closed());
  ask({{volume_a, 0, 512}});
  EXPECT_TRUE(peer->closed());
  EXPECT_THAT(link.reason, HasSubstr("more than 64 parts"));
}

// One whose welcome does not say that it answers is not asked.
TEST_F(ReceiverSession, TakesNoQuestionsWithoutCopies) {
  const Ask ask{volume_a, 0, 512};
  send(encode_asks(std::span(&ask, 1), 0));
  EXPECT_TRUE(peer->closed());
  EXPECT_THAT(link.reason, HasSubstr("does not belong here"));
}

// `on-journal-full throttle`.
TEST_F(ReceiverSession, ReadsNoFasterThanItsIntakeLikes) {
  intake->wait = std::chrono::milliseconds(150);
  send(data_frame(1));
  EXPECT_EQ(run->journal.received_seq(), 0u);
  world.clock.advance(std::chrono::milliseconds(149));
  world.settle();
  EXPECT_EQ(run->journal.received_seq(), 0u);
  world.clock.advance(std::chrono::milliseconds(1));
  world.settle();
  EXPECT_EQ(run->journal.received_seq(), 1u);
}

// H8: the stream in memory throws at a second writer.
TEST_F(ReceiverSession, RefusesOnlyAfterTheAcknowledgementThatIsOnItsWay) {
  peer->in().room = 1;  // full with the welcome: the acknowledgement has to wait
  send(data_frame(1));
  send(data_frame(2, true));
  EXPECT_FALSE(peer->closed());
  peer->in().room = MemoryDisk::never;
  peer->in().notify();
  world.settle();
  EXPECT_EQ(answers().back(), FrameType::refuse);
  EXPECT_TRUE(peer->closed());
}

TEST_F(ReceiverSession, EndsWhereverTheStreamEnds) {
  const Bytes frame = data_frame(1);
  send(Bytes(frame.begin(), frame.begin() + 100));
  peer->close();
  world.settle();
  EXPECT_EQ(crew->running(), 0u);
  EXPECT_EQ(run->journal.received_seq(), 0u);
}

// W1: a frame that took longer than session-timeout was begun anew for ever.
TEST_F(ReceiverSession, HearsEachByteOfAFrameThatComesSlowly) {
  const Bytes frame = data_frame(1);
  for (std::size_t at = 0; at < frame.size(); at += 100) {
    const auto from = frame.begin() + static_cast<std::ptrdiff_t>(at);
    send(Bytes(from, std::min(from + 100, frame.end())));
    world.clock.advance(seconds(2));
    world.settle();
  }
  EXPECT_EQ(run->journal.stored_seq(), 1u) << "after 80 s";
  EXPECT_FALSE(peer->closed());
}

// The hub of a remote whose copies had failed said "connected, 0.0 s behind".
TEST_F(ReceiverSession, ReportsToWhoTakesReportsWithItsHeartbeats) {
  intake->now_is = Report{7, 1000, 10, Error{Errc::io, "a copy failed"}, true, true};
  const auto reports = [&] {
    const auto all = answers();
    return std::count(all.begin(), all.end(), FrameType::report);
  };
  const auto beat = [&] {
    send(encode_heartbeat(0));
    world.clock.advance(seconds(1));
    world.settle();
  };
  beat();
  EXPECT_EQ(reports(), 0) << "an older peer does not know the frame";
  begin(true);
  send(data_frame(1));
  EXPECT_EQ(reports(), 0);
  beat();
  beat();
  EXPECT_EQ(reports(), 2);
}

TEST_F(ReceiverSession, EndsWhenThePeerIsSilent) {
  for (int i = 0; i < 12; ++i) {
    world.clock.advance(seconds(1));
    world.settle();
  }
  EXPECT_EQ(crew->running(), 0u);
  EXPECT_THAT(link.reason, HasSubstr("silent"));
}

class ShipFeed : public testing::Test {
 protected:
  void SetUp() override {
    format(disk);
    config.uuid = group;
    run.emplace(world, disk);
    feed.emplace(config, world.clock, run->journal);
    for (std::uint64_t i = 1; i <= 5; ++i) run->put(i);
    ASSERT_TRUE(begin({group, 0, 0}, history_begin(group)));
  }
  Result<void> begin(const Ack& ack, History history, const Uuid& journal = volume_b) {
    return world.get(feed->begin(Welcome{"r", {Answer{ack, history, {}}}, journal}));
  }
  std::string answer(const Ack& ack) {
    const auto done = feed->acked(std::span(&ack, 1));
    return done ? "believed" : done.error().text;
  }

  World world;
  MemoryDisk disk{world.executor, "journal", journal_disk_bytes};
  GroupConfig config;
  std::optional<RunningJournal> run;
  std::optional<JournalFeed> feed;
};

// H4: believed, it would make the hub trim its journal past its own cursor.
TEST_F(ShipFeed, DoesNotBelieveAcknowledgementsOfWhatWasNotSent) {
  EXPECT_THAT(answer({group, 1, 1}), HasSubstr("was not sent"));
  ASSERT_TRUE(world.get(feed->next()));
  EXPECT_EQ(answer({group, 1, 1}), "believed");
  EXPECT_THAT(answer({group, 6, 0}), HasSubstr("was not sent"));
  EXPECT_THAT(answer({volume_a, 1, 1}), HasSubstr("another group"));
  EXPECT_EQ(feed->remote_stored(), 1u);
}

TEST_F(ShipFeed, RefusesToGoOnWhereItsJournalHasNothing) {
  EXPECT_FALSE(begin({group, 6, 6}, 0));
  EXPECT_FALSE(begin({volume_a, 0, 0}, history_begin(group)));
  EXPECT_FALSE(world.get(feed->begin(Welcome{"r", {}})));
}

// "0.0 s behind", with a backlog, after somebody had set the clock an hour back.
TEST_F(ShipFeed, CountsLagByAClockThatNobodySets) {
  ASSERT_TRUE(world.get(feed->next()));
  ASSERT_EQ(answer({group, 1, 1}), "believed");
  world.clock.advance(seconds(7));
  world.clock.step_realtime(-std::chrono::hours(1));
  EXPECT_EQ(feed->behind().writes, 4u);
  EXPECT_DOUBLE_EQ(feed->behind().age_seconds, 7);
}

// P7: a hub that was restored, or whose journal was made anew, meets a remote that has followed
// another history to a number that fits.
TEST_F(ShipFeed, GoesOnOnlyFromTheSameHistory) {
  const auto at_three = world.get(run->journal.history_at(3));
  ASSERT_TRUE(at_three);
  EXPECT_TRUE(begin({group, 3, 3}, *at_three));
  const auto wrong = begin({group, 3, 3}, *at_three + 1);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::refused);
  EXPECT_THAT(wrong.error().text, HasSubstr("holds another history: at write 3"));
  EXPECT_FALSE(begin({group, 2, 2}, *at_three));
}

// P7: the remote's journal was made anew; what its copies hold, nobody knows.
TEST_F(ShipFeed, GoesOnOnlyWithTheJournalThatHasFollowedIt) {
  const auto wrong = begin({group, 0, 0}, history_begin(group), volume_a);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().text, HasSubstr("made anew or exchanged"));
  ASSERT_TRUE(run->checkpoint(1, 1));
  EXPECT_EQ(superblock_on(disk).follower, volume_b) << "remembered over a restart";
}

/// The journal begins at write 4, and the remote was known to have the first two.
struct BehindShipFeed : ShipFeed {
  void SetUp() override {
    format(disk);
    config.uuid = group;
    run.emplace(world, disk);
    feed.emplace(config, world.clock, run->journal);
    for (std::uint64_t i = 1; i <= 5; ++i) run->put(i, 256 * 1024);
    at_two = *world.get(run->journal.history_at(2));
    run->journal.set_follower(volume_b);
    run->journal.set_behind({1, 2, at_two, 0});
    ASSERT_TRUE(run->checkpoint(4, 4));
    ASSERT_EQ(run->journal.first_seq(), 4u);
  }
  History at_two = 0;
};

TEST_F(BehindShipFeed, OffersToGoOnBehindTheGap) {
  const auto streams = feed->streams();
  EXPECT_TRUE(streams.front().gap);
  EXPECT_EQ(streams.front().first, 4u);
  EXPECT_EQ(streams.front().history, *world.get(run->journal.history_at(3)));
  ASSERT_TRUE(begin({group, 2, 2}, at_two));
  const auto next = world.get(feed->next());
  ASSERT_TRUE(next && *next);
  EXPECT_EQ(group_seq_of((*next)->pieces.front().records.front()), 4u);
  EXPECT_EQ(superblock_on(disk).behind.seq, 2u) << "remembered over a restart";
}

TEST_F(BehindShipFeed, DoesSoOnlyForTheRemoteThatItKnew) {
  EXPECT_FALSE(begin({group, 2, 2}, at_two + 1)) << "the same number of another history";
  EXPECT_FALSE(begin({group, 1, 1}, 0)) << "less than it had: not all of that is marked";
  EXPECT_FALSE(begin({group, 2, 2}, at_two, volume_a)) << "another journal";
  run->journal.set_behind({});
  EXPECT_FALSE(begin({group, 2, 2}, at_two)) << "nothing is marked";
  const Answer waits{{group, 5, 5}, *world.get(run->journal.history_at(5)), {}, false, true};
  const auto refused = world.get(feed->begin(Welcome{"r", {waits}, volume_b}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("waits for copies"));
}

TEST_F(ShipFeed, TakesAnyJournalBeforeTheFirstWrite) {
  MemoryDisk empty_disk(world.executor, "journal", journal_disk_bytes);
  format(empty_disk);
  RunningJournal empty(world, empty_disk);
  JournalFeed first(config, world.clock, empty.journal);
  for (const Uuid& journal : {volume_a, volume_b})
    EXPECT_TRUE(world.get(
        first.begin(Welcome{"r", {Answer{{group, 0, 0}, history_begin(group), {}}}, journal})));
  EXPECT_TRUE(empty.stop_in_order());
}

TEST_F(ShipFeed, BeginsANewSessionWhenTheVolumesHaveChanged) {
  ASSERT_TRUE(world.get(feed->next()));
  feed->renew();
  const auto next = world.get(feed->next());
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, Errc::closed);
  (void)feed->streams();
  ASSERT_TRUE(begin({group, 1, 1}, *world.get(run->journal.history_at(1))));
  EXPECT_TRUE(world.get(feed->next()));
}

// H7
TEST(StrangersAtTheDoor, NeverKeepAKnownNodeOut) {
  World world;
  std::vector<std::unique_ptr<MemoryStream>> streams;
  Strangers strangers({"10.0.0.1"});
  const auto arrive = [&](const std::string& host) {
    auto one = std::make_shared<MemoryStream::Pipe>(world.executor, world.executor);
    auto two = std::make_shared<MemoryStream::Pipe>(world.executor, world.executor);
    streams.push_back(std::make_unique<MemoryStream>(world.executor, one, two, host));
    strangers.make_room();
    strangers.enter(*streams.back());
  };
  arrive("10.0.0.1");
  for (int i = 0; i < 500; ++i) arrive(i % 3 == 0 ? "10.9.9.8" : "10.9.9.9");
  arrive("10.0.0.1");
  EXPECT_EQ(strangers.size(), Strangers::connections_max);
  EXPECT_FALSE(streams.front()->closed());
  EXPECT_FALSE(streams.back()->closed());
  arrive("10.9.9.7");
  EXPECT_FALSE(streams.back()->closed()) << "the one with many makes room for the one with few";
}

}  // namespace
}  // namespace cascade::test
