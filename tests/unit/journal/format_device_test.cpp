// SPDX-License-Identifier: GPL-2.0-or-later
// Making a journal: what is refused, and that nothing is changed then.
#include "lib/journal/format_device.hpp"
#include "lib/base/file_lock.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

struct FormatDevice : testing::Test {
  std::string path = testing::TempDir() + "journal-" + to_text(make_uuid());
  ~FormatDevice() override { std::filesystem::remove(path); }

  std::string refusal(std::optional<std::uint64_t> bytes, bool force = false) {
    const auto made = format_journal(path, group, bytes, force);
    return made ? "made" : made.error().text;
  }
};

TEST_F(FormatDevice, MakesAFileOfThatSize) {
  EXPECT_EQ(refusal(32 << 20), "made");
  EXPECT_EQ(std::filesystem::file_size(path), 32u << 20);
}

TEST_F(FormatDevice, RefusesWhatIsNotThere) {
  EXPECT_THAT(refusal({}), HasSubstr("does not exist; give --size"));
}

TEST_F(FormatDevice, RefusesTooSmall) { EXPECT_THAT(refusal(1 << 20), HasSubstr("too small")); }

TEST_F(FormatDevice, RefusesAnotherJournalUnlessForced) {
  ASSERT_EQ(refusal(32 << 20), "made");
  EXPECT_THAT(refusal({}), HasSubstr("already is a journal, of group " + to_text(group)));
  EXPECT_EQ(refusal({}, true), "made");
}

TEST_F(FormatDevice, RefusesAFileSystemAndLeavesItAlone) {
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 32 << 20);
  ASSERT_EQ(std::system(("mkfs.ext4 -q " + path).c_str()), 0);
  std::ifstream before_file(path, std::ios::binary);
  const std::string before{std::istreambuf_iterator<char>(before_file), {}};
  EXPECT_THAT(refusal({}), HasSubstr("holds something (ext4)"));
  std::ifstream after_file(path, std::ios::binary);
  const std::string after{std::istreambuf_iterator<char>(after_file), {}};
  EXPECT_TRUE(before == after);
}

// P13: O_EXCL means nothing for files.
TEST_F(FormatDevice, AFileThatADaemonHasOpenIsRefusedEvenByForce) {
  const int daemon = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(daemon, 0);
  ASSERT_TRUE(lock_file(daemon, path));
  const auto refused = format_journal(path, group, 32 << 20, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  struct stat st;
  ASSERT_EQ(::fstat(daemon, &st), 0);
  EXPECT_EQ(st.st_size, 0) << "nothing was changed";
  const int second = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  EXPECT_FALSE(lock_file(second, path)) << "within one process too";
  ::close(second);
  ::close(daemon);
  EXPECT_TRUE(format_journal(path, group, 32 << 20, true));
}

TEST_F(FormatDevice, SaysOfItselfWhatWasMade) {
  const auto made = format_journal(path, group, 32 << 20, false);
  ASSERT_TRUE(made);
  const auto found = read_journal(path, group);
  ASSERT_TRUE(found) << found.error().text;
  EXPECT_EQ(found->journal, made->journal);
  EXPECT_THAT(read_journal(path, volume_a).error().text, HasSubstr("is the journal of group"));
  EXPECT_THAT(read_journal("/nowhere", group).error().text, HasSubstr("/nowhere: open"));
}

Beginning two_volumes() {
  return {{volume_a, {.volume_seq = 7, .source = {.generation = group}, .bytes = 1 << 20}},
          {volume_b, {.volume_seq = 9, .source = {.generation = volume_a}, .bytes = 2 << 20}}};
}

TEST_F(FormatDevice, BeginsWithWhatTheCopiesHold) {
  const auto made = format_journal(path, group, 32 << 20, false, two_volumes());
  ASSERT_TRUE(made) << made.error().text;
  const auto found = read_journal(path, group);
  ASSERT_TRUE(found) << found.error().text;
  EXPECT_EQ(found->stored_seq, 0u);
  const auto held = held_by_copies(*found);
  ASSERT_TRUE(held) << held.error().text;
  EXPECT_EQ(*held, two_volumes());
}

// Who holds something else must not be taken for one that follows.
TEST_F(FormatDevice, TwoThatBeginWithOtherCopiesHaveOtherHistories) {
  const auto history = [&](const Beginning& beginning) {
    return format_journal(path, group, 32 << 20, true, beginning)->tail_history;
  };
  const History same = history(two_volumes());
  EXPECT_EQ(history(two_volumes()), same);
  EXPECT_NE(history({}), same);
  Beginning other = two_volumes();
  other[volume_a].volume_seq = 8;
  EXPECT_NE(history(other), same);
  other = two_volumes();
  other[volume_b].source.generation = volume_b;
  EXPECT_NE(history(other), same);
  other = two_volumes();
  other.erase(volume_b);
  EXPECT_NE(history(other), same);
}

struct NotHeld {
  const char* says;
  void (*change)(Superblock&);
};

TEST_F(FormatDevice, WhatTheCopiesHoldIsNotKnownWhile) {
  const auto made = format_journal(path, group, 32 << 20, false, two_volumes());
  const NotHeld table[] = {
      {"was promoted here", [](Superblock& sb) { sb.takeover.generation = volume_a; }},
      {"not closed in order", [](Superblock& sb) { sb.clean = false; }},
      {"bracket is open", [](Superblock& sb) { sb.limit_seq = 3; }},
      {"bracket is open", [](Superblock& sb) { sb.past_limit = 3; }},
      {"have not caught up", [](Superblock& sb) { sb.gap_seq = 3; }},
      {"2 writes of its journal are not in its copies",
       [](Superblock& sb) { sb.stored_seq = sb.applied_seq + 2; }},
      {"left behind", [](Superblock& sb) { sb.volumes[volume_a].dropped = true; }},
      {"left behind",
       [](Superblock& sb) { sb.volumes[volume_a].standing.mark = CASCADE_MARK_LEFT; }},
  };
  for (const NotHeld& row : table) {
    Superblock sb = *made;
    row.change(sb);
    const auto held = held_by_copies(sb);
    ASSERT_FALSE(held) << row.says;
    EXPECT_THAT(held.error().text, HasSubstr(row.says));
  }
}

TEST_F(FormatDevice, OneThatIsRetiredSaysWhereItsCopiesWentOn) {
  ASSERT_TRUE(format_journal(path, group, 32 << 20, false, two_volumes()));
  const auto retired = retire_journal(path, group, volume_b, 5);
  ASSERT_TRUE(retired) << retired.error().text;
  const auto found = read_journal(path, group);
  EXPECT_EQ(found->takeover, (Takeover{volume_b, 5, false, 0}));
  EXPECT_THAT(retire_journal(path, group, volume_a, 6).error().text,
              HasSubstr("promoted here as generation " + to_text(volume_b)));
  EXPECT_EQ(read_journal(path, group)->takeover.generation, volume_b);
}

}  // namespace
}  // namespace cascade::test
