// SPDX-License-Identifier: GPL-2.0-or-later
// What a device of hub or remote does to the group when it gives errors: a state with a name, the
// rule that WHEN A DEVICE GIVES ERRORS in dmcascade(8) states, and nothing left once it is mended.
#include "tests/unit/group/keeper_rig.hpp"

#include <gmock/gmock.h>

#include <ostream>

namespace cascade::test {
namespace {

using testing::HasSubstr;

using Fault = MemoryDisk::Fault;

struct IoError {
  const char* node;
  const char* disk;
  Fault fault;
  const char* code;  // of the condition there
  bool writers_wait;
};

std::ostream& operator<<(std::ostream& out, const IoError& error) {
  return out << error.node << " " << error.disk << " fault " << static_cast<int>(error.fault);
}

class IoErrors : public KeeperTest, public testing::WithParamInterface<IoError> {
 protected:
  const IoError error = GetParam();

  void break_it(Fault fault) { cascade.node(error.node).fail_disk(error.disk, fault); }
  std::string reason() {
    for (const auto& c : status(error.node).conditions)
      if (c.code == error.code) return c.reason;
    return {};
  }
  /// Whatever was written is acknowledged before long.
  bool is_acknowledged() {
    for (int tenths = 0; tenths < 50 && !cascade.all_acknowledged(); ++tenths)
      cascade.run_for(std::chrono::milliseconds(100));
    return cascade.all_acknowledged();
  }
};

TEST_P(IoErrors, HaveANameARuleAndAnEnd) {
  begin();
  ASSERT_TRUE(is_acknowledged());
  break_it(error.fault);
  for (int i = 0; i < 200; ++i) {
    cascade.go_on();
    cascade.run_for(std::chrono::milliseconds(20));
  }
  EXPECT_THAT(reason(), HasSubstr(error.disk)) << "no " << error.code;
  EXPECT_EQ(is_acknowledged(), !error.writers_wait) << cascade.figures();
  if (error.node == std::string("r")) {
    EXPECT_EQ(status("h").journal->state, "ok") << "its hub goes on without it";
  }
  if (error.disk != std::string("journal")) {
    EXPECT_EQ(status(error.node).journal->state, "ok") << "it goes on receiving";
    EXPECT_EQ(status("r").journal->received_seq, status("h").journal->received_seq);
  }
  if (error.code == std::string("COPY_FAILED") && error.node == std::string("r")) {
    EXPECT_TRUE(has("h", "REMOTE_COPIES_FAILED"));
    const auto hub = status("h");
    EXPECT_LT(hub.remote->applied_seq.value(), hub.remote->stored_seq);
    // Without a flush it applies the same again and again.
    if (error.fault == Fault::writes) {
      EXPECT_EQ(hub.remote->applied_seq, status("r").journal->applied_seq);
    }
  }
  break_it(Fault::none);
  expect_well();
}

INSTANTIATE_TEST_SUITE_P(
    All, IoErrors,
    testing::Values(IoError{"h", "journal", Fault::writes, "DEVICE_FAILED", true},
                    IoError{"h", "journal", Fault::flushes, "DEVICE_FAILED", true},
                    IoError{"h", "ledger", Fault::writes, "COPY_FAILED", false},
                    IoError{"h", "ledger", Fault::flushes, "COPY_FAILED", false},
                    IoError{"r", "journal", Fault::writes, "DEVICE_FAILED", false},
                    IoError{"r", "journal", Fault::flushes, "DEVICE_FAILED", false},
                    IoError{"r", "ledger", Fault::writes, "COPY_FAILED", false},
                    IoError{"r", "ledger", Fault::flushes, "COPY_FAILED", false}));

/// A flush fails once, and what was written before it is not on the disk, though later ones go
/// well: so does Linux tell of lost pages. Nothing of that may count as stored.
class LostFlush : public KeeperTest,
                  public testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(LostFlush, IsNotTakenForStored) {
  const auto [name, disk] = GetParam();
  begin();
  VirtualNode& node = cascade.node(name);
  for (int i = 0; i < 8; ++i) {
    node.fail_disk(disk, Fault::lost_flush);
    for (int turns = 0; turns < 200 && node.flushes_lost() == 0; ++turns) {
      cascade.live(30);
      cascade.run_for(std::chrono::milliseconds(20));
    }
    ASSERT_EQ(node.flushes_lost(), 1u) << cascade.figures();
    cascade.run_for(std::chrono::milliseconds(cascade.draw() % 500));
    // What it has in memory helps no more.
    node.kill(false);
    node.start();
  }
  expect_well();
}

INSTANTIATE_TEST_SUITE_P(All, LostFlush,
                         testing::Values(std::pair("h", "journal"), std::pair("h", "ledger"),
                                         std::pair("r", "journal"), std::pair("r", "ledger")));

/// What can't be read is only noticed where somebody reads it: by a daemon that begins.
class UnreadableJournal : public KeeperTest, public testing::WithParamInterface<const char*> {};

TEST_P(UnreadableJournal, IsNamedAndTriedAgain) {
  const std::string name = GetParam();
  begin();
  cascade.node(name).kill(false);
  cascade.node(name).start();
  cascade.node(name).fail_disk("journal", Fault::reads);
  go_on(200);
  cascade.run_for(std::chrono::seconds(3));
  EXPECT_TRUE(has(name, "DEVICE_FAILED"));
  EXPECT_THAT(status(name).journal->reason, HasSubstr("journal can't be read"));
  cascade.node(name).fail_disk("journal", Fault::none);
  expect_well();
}

INSTANTIATE_TEST_SUITE_P(All, UnreadableJournal, testing::Values("h", "r"));

}  // namespace
}  // namespace cascade::test
