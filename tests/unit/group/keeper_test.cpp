// SPDX-License-Identifier: GPL-2.0-or-later
// What went away and comes back is taken up again by itself. W4, W9.
#include "tests/unit/group/keeper_rig.hpp"

#include <gmock/gmock.h>

namespace cascade::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

TEST_F(KeeperTest, SaysThatAJournalIsBeingOpened) {
  go_on();
  cascade.node("h").kill(false);
  cascade.node("h").start();
  std::set<std::string> states;
  for (int i = 0; i < 500; ++i) {
    cascade.go_on();
    if (const auto journal = status("h").journal) states.insert(journal->state);
  }
  EXPECT_THAT(states, ElementsAre("ok", "opening"));
}

/// A device of the hub or remote that is not there when its daemon starts.
class LateDevice : public KeeperTest,
                   public testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(LateDevice, IsWaitedFor) {
  const auto [name, disk] = GetParam();
  go_on();
  cascade.node(name).kill(false);
  auto image = std::exchange(cascade.node(name).images[disk], {});
  cascade.node(name).images.erase(disk);
  cascade.node(name).start();
  go_on();
  EXPECT_TRUE(has(name, "DEVICE_MISSING"));
  EXPECT_THAT(status(name).journal->reason, HasSubstr(disk));
  // Others are told what it is.
  const auto links = status(name == std::string("h") ? "p1" : "h").links;
  EXPECT_THAT(links, Contains(Field(&api::Link::reason, HasSubstr(disk))));
  cascade.node(name).images[disk] = std::move(image);
  expect_well();
}

INSTANTIATE_TEST_SUITE_P(All, LateDevice,
                         testing::Values(std::pair("h", "journal"), std::pair("h", "orders"),
                                         std::pair("r", "journal"), std::pair("r", "ledger")));

/// A disk that fails all writes after some, and is well again when it is opened anew.
class FailingJournal : public KeeperTest,
                       public testing::WithParamInterface<std::pair<const char*, std::uint64_t>> {};

TEST_P(FailingJournal, IsOpenedAnew) {
  const auto [name, writes] = GetParam();
  VirtualNode& node = cascade.node(name);
  go_on(50);
  node.kill(false);
  node.writes_max = writes;
  node.start();
  bool failed = false;
  for (int i = 0; i < 3000; ++i) {
    cascade.go_on();
    if (i % 3 == 0) failed = failed || has(name, "DEVICE_FAILED");
  }
  EXPECT_TRUE(failed) << "with so few writes";
  node.heal_disks();
  expect_well();
}

INSTANTIATE_TEST_SUITE_P(All, FailingJournal,
                         testing::Values(std::pair("h", 12), std::pair("r", 6)));

/// 'resize' waits for the hub's word: the new size is not shown as one that replicates before.
TEST_F(KeeperTest, ANewSizeReplicatesOnceTheHubHasAnswered) {
  go_on();
  cascade.grow(0, 8);
  for (int i = 0; i < 4000 && !has("p1", "VOLUME_REFUSED"); ++i) {
    cascade.go_round();
    for (const auto& volume : status("p1").volumes)
      ASSERT_FALSE(volume.size_bytes == cascade.volume_bytes(0) && volume.state == "replicating")
          << "round " << i;
  }
  EXPECT_TRUE(has("p1", "VOLUME_REFUSED"));
}

/// K6: a volume that grows under load before its copies have, first refused by the hub and then by
/// the remote.
TEST_F(KeeperTest, AVolumeAndItsCopiesGrowWhileEverythingRuns) {
  go_on();
  cascade.grow(0, 8);
  go_on();
  EXPECT_TRUE(has("p1", "VOLUME_REFUSED"));
  cascade.node("h").grow_disk("orders", cascade.volume_bytes(0));
  for (int i = 0; i < 100 && has("p1", "VOLUME_REFUSED"); ++i) go_on(200);
  EXPECT_FALSE(has("p1", "VOLUME_REFUSED"));
  const auto refused = [&] {
    const auto links = status("h").links;
    return std::any_of(links.begin(), links.end(), [](const auto& link) {
      return link.reason.find("the remote's copy only") != std::string::npos;
    });
  };
  for (int i = 0; i < 100 && !refused(); ++i) go_on(20);
  EXPECT_TRUE(refused());
  cascade.node("r").grow_disk("orders", cascade.volume_bytes(0));
  EXPECT_TRUE(cascade.drain()) << cascade.figures();
  expect_well();
}

/// The hub takes a copy that has grown before its volume did as it is; a refusal would end a
/// 'resize', and the volume's turn to go on alone.
TEST_F(KeeperTest, ACopyThatHasGrownIsNeverRefused) {
  go_on();
  const std::uint64_t grown = cascade.volume_bytes(0) + 8 * VirtualVolume::region_sectors * 512;
  for (const char* name : {"h", "r"}) cascade.node(name).grow_disk("orders", grown);
  cascade.grow(0, 8);
  for (int i = 0; i < 4000; ++i) {
    cascade.go_round();
    ASSERT_FALSE(has("p1", "VOLUME_REFUSED")) << "round " << i;
    for (const auto& link : status("h").links)
      ASSERT_EQ(link.reason.find("copy only"), std::string::npos) << link.reason;
  }
  EXPECT_TRUE(cascade.drain()) << cascade.figures();
  expect_well();
}

// "LINK_DOWN h: " and nothing behind it, while the first session began.
TEST(GroupKeepers, SayWhyALinkIsNotThereAtAnyMoment) {
  Cascade cascade(3, AckWhen::sync);
  for (int i = 0; i < 600; ++i) {
    cascade.go_on();
    for (const char* name : names)
      for (const auto& link : cascade.node(name).group().status().links)
        ASSERT_TRUE(link.state == "connected" || !link.reason.empty()) << name << " at " << i;
  }
}

}  // namespace
}  // namespace cascade::test
