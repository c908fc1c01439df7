// SPDX-License-Identifier: GPL-2.0-or-later
// The worked bytes of lib/format/FORMAT.md are the bytes that the code makes.
#include "lib/format/frame.hpp"
#include "lib/format/history.hpp"
#include "lib/journal/layout.hpp"
#include "lib/meta/area.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace cascade::test {
namespace {

/// The bytes of the block ```golden NAME.
Bytes golden(const std::string& name) {
  std::ifstream page(CASCADE_SOURCE "/lib/format/FORMAT.md");
  Bytes out;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line == "```golden " + name) {
      inside = true;
    } else if (inside && line == "```") {
      return out;
    } else if (inside) {
      std::istringstream words(line);
      for (std::string word; words >> word;)
        out.push_back(std::byte(std::stoul(word, nullptr, 16)));
    }
  }
  ADD_FAILURE() << "FORMAT.md has no block " << name;
  return out;
}

std::string hex(std::span<const std::byte> bytes) {
  std::string out;
  char word[4];
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::snprintf(word, sizeof word, "%02x", std::to_integer<unsigned>(bytes[i]));
    out += word;
    out += i % 16 == 15 ? "\n" : i % 8 == 7 ? "  " : " ";
  }
  return out;
}

void expect_golden(const std::string& name, std::span<const std::byte> made) {
  EXPECT_EQ(hex(golden(name)), hex(made)) << name;
}

Record worked_record() {
  Record r = make_record(1, {}, 8, volume_a, CASCADE_OP_DISCARD, 4096);
  set_group_seq(r, 9);
  return r;
}

TEST(FormatPage, ShowsARecord) {
  const Record r = worked_record();
  expect_golden("record", std::as_bytes(std::span(&r, 1)));
}

TEST(FormatPage, ShowsHistories) {
  std::uint64_t both[2];
  both[0] = htole64(history_begin(group));
  both[1] = htole64(history_after(history_begin(group), worked_record()));
  const auto bytes = std::as_bytes(std::span(both));
  EXPECT_EQ(hex(golden("history")), hex(bytes));
}

TEST(FormatPage, ShowsAHeartbeat) { expect_golden("heartbeat", encode_heartbeat(5)); }

TEST(FormatPage, ShowsTheBeginningOfASuperblock) {
  std::vector<std::byte> bytes(superblock_bytes);
  encode_superblock(*format_superblock(group, 64 << 20),
                    std::span(bytes).first<superblock_bytes>());
  expect_golden("superblock", std::span(bytes).first(12));
}

TEST(FormatPage, ShowsTheBeginningOfAMetadataArea) {
  meta::Area area;
  area.volume = volume_a;
  area.counter = 3;
  area.volume_bytes = 10 << 20;
  area.area_bytes = 128 * 1024;
  area.numbered = true;
  area.end_seq = 42;
  area.generations = {{volume_b, 0}};
  std::array<std::byte, CASCADE_META_SUPER_BYTES> bytes;
  meta::encode_super(area, bytes);
  expect_golden("metadata", std::span(bytes).first(112));
}

}  // namespace
}  // namespace cascade::test
