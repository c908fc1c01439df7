// SPDX-License-Identifier: GPL-2.0-or-later
//
// Recovery at every torn point, and damage told apart from a torn tail. I1, I3, I4.
#include "tests/unit/journal/disk_image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

namespace cascade::test {
namespace {

using testing::HasSubstr;

constexpr std::size_t sector = 512;

TEST(Recovery, OfAnEmptyJournalBeginsAtOne) {
  const auto found = Image().recover();
  ASSERT_FALSE(found.error);
  EXPECT_EQ(found.head.seq, 1u);
  EXPECT_EQ(found.head.number, 1u);
  EXPECT_FALSE(found.head.torn);
}

TEST(Recovery, FindsEveryWholeBatch) {
  Image image;
  image.append(1, 4096);
  image.append(100, 512);
  image.append(3, 0);
  const auto found = image.recover();
  ASSERT_FALSE(found.error);
  EXPECT_THAT(found.first_seqs, testing::ElementsAre(1, 2, 102));
  EXPECT_EQ(found.head.seq, 105u);
  EXPECT_EQ(found.head.position, image.head.position);
  EXPECT_EQ(found.head.previous_crc, image.head.previous_crc);
  EXPECT_EQ(found.volumes.at(volume_a).volume_seq, 104u);
}

/// What stood at the place before: nothing, something else, or the batch of an earlier lap.
enum class Under { zeroes, garbage, old_lap };

struct Shape {
  std::size_t records, payload;
  bool at_wrap;
};

/// An image whose last batch has this shape; `place` is where that begins.
Image image_with_last(const Shape& shape, Under under, std::uint64_t& place) {
  Image image;
  if (under == Under::old_lap) {
    // Once round, with batches of the same shape, so that old ones stand where new ones go.
    while (image.head.position < image.sb.data_bytes) image.append(shape.records, shape.payload);
    image.sb.tail_position = image.head.position;
    image.sb.tail_number = image.head.number;
    image.sb.tail_seq = image.head.seq;
    image.sb.tail_previous_crc = image.head.previous_crc;
    image.sb.tail_history = image.head.history;
    image.sb.epoch_number = image.head.number;
  } else if (under == Under::garbage) {
    const auto noise = pattern(4 * 1024 * 1024, 99);
    std::memcpy(image.bytes.data() + image.offset(0), noise.data(), noise.size());
  }
  image.append(2, 4096);
  if (shape.at_wrap) {
    // Leave room for less than the last batch before the end, so that it is preceded by a skip.
    const std::size_t room = batch_bytes(1, 4096);
    while (image.sb.data_bytes - image.head.position % image.sb.data_bytes > 2 * 1024 * 1024 + room)
      image.append(8, 131072);
    while (image.sb.data_bytes - image.head.position % image.sb.data_bytes > 2 * room)
      image.append(1, 4096);
    image.sb.tail_position = image.head.position - room;
    image.sb.tail_number = image.head.number - 1;
    image.sb.tail_seq = image.head.seq - 1;
    BatchHeader tail;
    std::memcpy(&tail, image.bytes.data() + image.offset(image.sb.tail_position), sizeof tail);
    image.sb.tail_previous_crc = tail.previous_crc;
    image.sb.tail_history = le64toh(tail.history);
  }
  place = image.append(shape.records, shape.payload);
  return image;
}

class TornBatch : public testing::TestWithParam<std::tuple<int, Under>> {
 protected:
  static Shape shape() {
    const Shape shapes[] = {{1, 4096, false}, {1, 512, false},   {5, 0, false},
                            {70, 512, false}, {3, 12288, false}, {4, 16384, true}};
    return shapes[std::get<0>(GetParam())];
  }

  void SetUp() override {
    image = image_with_last(shape(), std::get<1>(GetParam()), place);
    const auto size = static_cast<std::size_t>(image.head.position - place);
    const std::byte* at = image.bytes.data() + image.offset(place);
    after.assign(at, at + size);
    before = what_was_there(size);
    places_after = image.recover().volumes;
  }

  std::vector<std::byte> what_was_there(std::size_t size) const {
    if (std::get<1>(GetParam()) == Under::zeroes) return std::vector<std::byte>(size);
    if (std::get<1>(GetParam()) == Under::garbage) return pattern(size, 77);
    // The batch of the lap before: same shape, older numbers, whole by itself.
    Image old;
    old.sb = image.sb;
    old.head = {place - image.sb.data_bytes, 1, 1, 0, 0, false};
    old.append(shape().records, shape().payload);
    const std::byte* at = old.bytes.data() + old.offset(place);
    return {at, at + size};
  }

  /// Recovers with `device` in the place of the last batch. It counts as a whole or not at all;
  /// only padding, which nobody reads, may be missing from a batch that counts.
  void expect_whole_or_nothing(const std::vector<std::byte>& device, const std::string& what) {
    std::copy(device.begin(), device.end(),
              image.bytes.begin() + static_cast<long>(image.offset(place)));
    const auto found = image.recover();
    ASSERT_FALSE(found.error) << what << ": " << found.error->text;
    if (found.head.position == image.head.position)
      EXPECT_EQ(found.volumes, places_after) << what;
    else
      EXPECT_EQ(found.head.position, place) << what;
    if (device == after) {
      EXPECT_EQ(found.head.position, image.head.position) << what;
    }
    if (device == before) {
      EXPECT_EQ(found.head.position, place) << what;
    }
  }

  Image image;
  std::uint64_t place = 0;
  std::vector<std::byte> before, after;  // of the last batch's place
  std::map<Uuid, VolumePlace> places_after;
};

TEST_P(TornBatch, CutAtAnySectorIsDiscardedWhole) {
  auto device = before;
  for (std::size_t cut = 0; cut <= after.size(); cut += sector) {
    std::copy_n(after.begin(), cut, device.begin());
    expect_whole_or_nothing(device, "cut at " + std::to_string(cut));
  }
}

TEST_P(TornBatch, WithAnyOneSectorMissingIsDiscardedWhole) {
  for (std::size_t missing = 0; missing < after.size(); missing += sector) {
    auto device = after;
    std::copy_n(before.begin() + static_cast<long>(missing), sector,
                device.begin() + static_cast<long>(missing));
    expect_whole_or_nothing(device, "without sector at " + std::to_string(missing));
  }
}

TEST_P(TornBatch, WithAnyHalfOfItsSectorsIsDiscardedWhole) {
  const char* given = std::getenv("CASCADE_SEED");
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
  SCOPED_TRACE("again with: CASCADE_SEED=" + std::to_string(seed) +
               " ctest --preset dev -R TornBatch");
  std::mt19937 lots(seed);
  for (int round = 0; round < 50; ++round) {
    auto device = before;
    for (std::size_t at = 0; at < after.size(); at += sector)
      if (lots() % 2 == 0)
        std::copy_n(after.begin() + static_cast<long>(at), sector,
                    device.begin() + static_cast<long>(at));
    expect_whole_or_nothing(device, "round " + std::to_string(round));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, TornBatch,
                         testing::Combine(testing::Range(0, 6),
                                          testing::Values(Under::zeroes, Under::garbage,
                                                          Under::old_lap)));

TEST(Damage, BeforeAWholeBatchIsNoTornTail) {
  for (std::size_t hurt = 0; hurt < 3; ++hurt) {
    Image image;
    std::vector<std::uint64_t> places;
    for (int i = 0; i < 4; ++i) places.push_back(image.append(3, 4096));
    image.bytes[image.offset(places[hurt]) + 130] ^= std::byte{1};
    const auto found = image.recover();
    ASSERT_TRUE(found.error) << "batch " << hurt;
    EXPECT_EQ(found.error->code, Errc::corrupt);
    EXPECT_THAT(found.error->text, HasSubstr("damaged at batch " + std::to_string(hurt + 1)));
  }
}

TEST(Damage, OfAPayloadBeforeAWholeBatchIsFound) {
  Image image;
  const auto place = image.append(3, 4096);
  image.append(1, 512);
  image.bytes[image.offset(place) + batch_bytes(3, 0) + 5000] ^= std::byte{1};
  EXPECT_TRUE(image.recover().error);
}

TEST(Damage, OfTheLastBatchThatTheSuperblockKnowsIsFound) {
  Image image;
  const auto place = image.append(3, 4096);
  image.sb.epoch_number = image.head.number;
  image.bytes[image.offset(place) + 200] ^= std::byte{1};
  EXPECT_TRUE(image.recover().error);
}

TEST(TornTail, WithTheNextBatchWrittenBesideItIsStillTorn) {
  Image image;
  image.append(1, 4096);
  image.lag = 2;  // two under way at a time: the second does not vouch for the first
  const auto first = image.append(2, 4096);
  image.append(2, 4096);
  image.bytes[image.offset(first)] ^= std::byte{1};
  const auto found = image.recover();
  ASSERT_FALSE(found.error) << found.error->text;
  EXPECT_EQ(found.head.position, first);
}

TEST(TornTail, OfAnEarlierEpochDoesNotVouch) {
  Image image;
  image.append(1, 4096);
  const auto torn = image.append(2, 4096);
  image.append(2, 4096);
  // A later run found the journal torn at `torn` and began its own epoch there.
  image.sb.epoch = 2;
  image.sb.epoch_number = 2;
  image.bytes[image.offset(torn) + 5] ^= std::byte{1};
  const auto found = image.recover();
  ASSERT_FALSE(found.error) << found.error->text;
  EXPECT_EQ(found.head.position, torn);
}

TEST(Recovery, NeverTakesWhatAnEarlierEpochLeftBehindTheHead) {
  Image image;
  image.append(1, 4096);
  const auto stale = image.append(2, 4096);
  image.sb.epoch = 2;
  image.sb.epoch_number = 2;
  const auto found = image.recover();
  ASSERT_FALSE(found.error);
  EXPECT_EQ(found.head.position, stale);
}

TEST(Recovery, OfAnotherJournalsBatchesFindsNothing) {
  Image image;
  image.append(4, 4096);
  image.sb.journal = make_uuid();
  const auto found = image.recover();
  ASSERT_FALSE(found.error);
  EXPECT_EQ(found.head.position, 0u);
}

// P5: what a run wrote is never taken for a torn tail because its superblock is lost.
TEST(Damage, BatchesOfALaterOpeningThanTheSuperblockAreNoTornTail) {
  for (const bool clean : {false, true}) {
    Image image;
    image.append(2, 4096);
    Superblock older = image.sb;
    older.epoch_number = image.head.number;
    older.clean = clean;
    image.sb.epoch = 2;
    image.append(1, 512);
    image.sb = older;
    const auto found = image.recover();
    ASSERT_TRUE(found.error) << clean;
    EXPECT_THAT(found.error->text, HasSubstr("batch 2 of opening 2"));
    EXPECT_THAT(found.error->text, HasSubstr("superblock"));
  }
}

TEST(Damage, BatchesOfALaterOpeningBehindDamageAreFound) {
  Image image;
  image.append(2, 4096);
  const Superblock older = image.sb;
  image.sb.epoch = 2;
  const auto hurt = image.append(1, 512);
  image.append(1, 512);
  image.sb = older;
  image.bytes[image.offset(hurt) + 9] ^= std::byte{1};
  const auto found = image.recover();
  ASSERT_TRUE(found.error);
  EXPECT_THAT(found.error->text, HasSubstr("superblock does not know"));
}

TEST(Damage, ALaterLapWhereTheSuperblockSeesItsTailIsFound) {
  Image image;
  const Superblock older = image.sb;
  while (image.head.position < image.sb.data_bytes + (1 << 20)) image.append(8, 131072);
  image.sb = older;
  const auto found = image.recover();
  ASSERT_TRUE(found.error);
  EXPECT_THAT(found.error->text, HasSubstr("superblock does not know"));
}

TEST(Damage, BatchesBehindTheEndOfAJournalThatWasClosedInOrderAreFound) {
  Image image;
  image.append(2, 4096);
  image.sb.epoch_number = image.head.number;
  image.sb.clean = true;
  ASSERT_FALSE(image.recover().error);
  image.append(1, 512);
  const auto found = image.recover();
  ASSERT_TRUE(found.error);
  EXPECT_THAT(found.error->text, HasSubstr("superblock does not know"));
}

// The same numbers, another write: the hash knows.
TEST(Recovery, CarriesTheHistory) {
  Image one, two;
  two.sb.journal = one.sb.journal;
  one.append(3, 512);
  two.volume_seq = 7;
  two.append(3, 512);
  ASSERT_FALSE(one.recover().error);
  EXPECT_EQ(one.recover().head.history, one.head.history);
  EXPECT_EQ(one.recover().head.seq, two.recover().head.seq);
  EXPECT_NE(one.recover().head.history, two.recover().head.history);
}

TEST(Damage, ABatchOfAnotherHistoryDoesNotFollow) {
  Image image;
  image.append(1, 512);
  image.head.history ^= 1;
  const auto place = image.append(1, 512);
  image.sb.epoch_number = image.head.number;
  const auto found = image.recover();
  ASSERT_TRUE(found.error);
  EXPECT_THAT(found.error->text, HasSubstr("history is"));
  EXPECT_GT(place, 0u);
}

TEST(Recovery, GoesRoundManyTimes) {
  Image image;
  std::mt19937 lots(7);
  for (int i = 0; i < 400; ++i) {
    const auto begin = image.head;
    image.append(1 + lots() % 20, 4096 * (lots() % 8));
    if (i % 5 != 0) continue;
    image.sb.tail_position = begin.position;
    image.sb.tail_number = begin.number;
    image.sb.tail_seq = begin.seq;
    image.sb.tail_previous_crc = begin.previous_crc;
    image.sb.tail_history = begin.history;
    const auto found = image.recover();
    ASSERT_FALSE(found.error) << found.error->text;
    ASSERT_EQ(found.head.position, image.head.position);
    ASSERT_EQ(found.head.seq, image.head.seq);
  }
}

}  // namespace
}  // namespace cascade::test
