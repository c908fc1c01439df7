// SPDX-License-Identifier: GPL-2.0-or-later
// The hub's dirty bitmap of its remote: marks, and what is left of them on disk. I6 for the hub.
#include "lib/journal/dirty_map.hpp"
#include "tests/unit/format/make_record.hpp"
#include "tests/unit/seed.hpp"

#include <gtest/gtest.h>

#include <random>

namespace cascade::test {
namespace {

constexpr std::uint64_t mib = 1024 * 1024;
constexpr std::uint64_t region = dirty_region_bytes_min;
constexpr std::uint64_t map_number = 7;

using Sizes = std::map<Uuid, std::uint64_t>;

std::vector<std::uint64_t> marked(const DirtyMap& map, const Uuid& volume) {
  std::vector<std::uint64_t> out;
  for (auto r = map.next(0); r; r = map.next(r->index + 1))
    if (r->volume == volume) out.push_back(r->begin);
  return out;
}

struct Area {
  std::vector<std::byte> bytes = std::vector<std::byte>(dirty_map_bytes);

  void save(DirtyMap& map, std::uint64_t number = map_number) {
    for (const std::size_t page : map.take_changed())
      map.encode(number, page,
                 std::span(bytes).subspan(page * journal_block).first<journal_block>());
  }
};

TEST(RemoteDirtyMap, MarksTheRegionsThatARangeTouches) {
  DirtyMap map({{volume_a, 10 * mib}, {volume_b, 3 * mib + 4096}});
  map.mark(volume_b, region - 512, 1024);
  map.mark(volume_b, 3 * mib, 100 * mib);  // goes past the end
  map.mark(volume_b, 200 * mib, 4096);     // is past it
  map.mark(group, 0, 4096);                // a stranger
  EXPECT_EQ(marked(map, volume_b), (std::vector<std::uint64_t>{0, region, 3 * mib}));
  EXPECT_TRUE(marked(map, volume_a).empty());
  EXPECT_EQ(map.marked_bytes(), 3 * region);
  const auto last = map.next(map.next(map.next(0)->index + 1)->index + 1);
  EXPECT_EQ(last->bytes, 4096u) << "the volume ends there";
  map.clear(last->index);
  map.clear(last->index);
  EXPECT_EQ(map.marked_bytes(), 2 * region);
}

TEST(RemoteDirtyMap, TakesTheSmallestRegionWithWhichAllVolumesHaveRoom) {
  EXPECT_EQ(DirtyMap({{volume_a, 300ull << 30}}).region_bytes(), region);
  EXPECT_EQ(DirtyMap({{volume_a, 500ull << 30}}).region_bytes(), 2 * region);
  Sizes many;
  for (std::size_t i = 0; i < limits::group_volumes_max; ++i) many[make_uuid()] = 1ull << 40;
  DirtyMap map(many);
  map.mark_all();
  EXPECT_EQ(map.marked_bytes(), 1ull << 50);
}

// A model of plain sets, over saves and loads, with seeded ranges.
TEST(RemoteDirtyMap, ComesBackFromDiskAsItWas) {
  for (int i = 1; i <= 20; ++i) {
    const unsigned seed = seed_of(i);
    SCOPED_TRACE(again_with(seed, "RemoteDirtyMap"));
    std::mt19937_64 lots(seed);
    const Sizes sizes{{volume_a, 900 * mib}, {volume_b, 40 * mib}};
    DirtyMap map(sizes);
    Area area;
    for (int round = 0; round < 5; ++round) {
      for (int n = 0; n < 30; ++n)
        map.mark(n % 2 == 0 ? volume_a : volume_b, lots() % (900 * mib), lots() % mib);
      for (auto r = map.next(0); r; r = map.next(r->index + 1))
        if (lots() % 4 == 0) map.clear(r->index);
      area.save(map);
      DirtyMap back(sizes);
      EXPECT_TRUE(back.load(map_number, area.bytes)) << "laid out in the same way";
      EXPECT_EQ(marked(back, volume_a), marked(map, volume_a));
      EXPECT_EQ(marked(back, volume_b), marked(map, volume_b));
      EXPECT_TRUE(back.take_changed().empty());
    }
  }
}

TEST(RemoteDirtyMap, IsReadWhateverTheConfigurationIsByNow) {
  DirtyMap map({{volume_a, 900ull << 30}, {volume_b, 40 * mib}});
  map.mark(volume_a, 64 * mib, 4096);
  map.mark(volume_b, 8 * mib, 4096);
  Area area;
  area.save(map);
  ASSERT_GT(map.region_bytes(), region);

  DirtyMap without({{volume_b, 40 * mib}, {group, 10 * mib}});
  EXPECT_FALSE(without.load(map_number, area.bytes)) << "laid out in another way";
  ASSERT_FALSE(marked(without, volume_b).empty());
  EXPECT_EQ(marked(without, volume_b).front(), 8 * mib);
  EXPECT_EQ(without.marked_bytes(), map.region_bytes()) << "one region of before, in smaller ones";
}

TEST(RemoteDirtyMap, IgnoresWhatIsLeftOfAnEarlierMap) {
  DirtyMap map({{volume_a, 10 * mib}});
  map.mark_all();
  Area area;
  area.save(map, map_number - 2);
  DirtyMap back({{volume_a, 10 * mib}});
  EXPECT_TRUE(back.load(map_number, area.bytes));
  EXPECT_TRUE(back.empty());
}

TEST(RemoteDirtyMap, ADamagedBlockMarksEverything) {
  const Sizes sizes{{volume_a, 10 * mib}, {volume_b, 5 * mib}};
  DirtyMap map(sizes);
  map.mark(volume_a, 0, 4096);
  Area area;
  area.save(map);
  for (const std::size_t at : {std::size_t{0}, sizeof(DirtyBlock) + 70}) {
    Area torn = area;
    torn.bytes[at] ^= std::byte{1};
    DirtyMap back(sizes);
    EXPECT_FALSE(back.load(map_number, torn.bytes));
    EXPECT_EQ(back.marked_bytes(), 15 * mib);
  }
}

}  // namespace
}  // namespace cascade::test
