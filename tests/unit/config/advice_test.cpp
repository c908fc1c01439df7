// SPDX-License-Identifier: GPL-2.0-or-later
// What can work and is probably not meant so is said, and nothing else.
#include "lib/config/advice.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <unistd.h>

namespace cascade {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Config example() {
  auto config = load_config(EXAMPLE);
  if (!config) throw std::runtime_error(config.error().text);
  return *config;
}

NodeConfig& node(Config& config, const std::string& name) {
  for (NodeConfig& node : config.nodes)
    if (node.name == name) return node;
  throw std::logic_error(name);
}

TEST(Advice, SaysNothingOfTheShippedExample) { EXPECT_THAT(advice_on(example()), IsEmpty()); }

TEST(Advice, NamesAddressesThatNobodyElseReaches) {
  for (const char* host : {"127.0.1.1", "::1", "localhost"}) {
    Config config = example();
    node(config, "h").address.host = host;
    EXPECT_THAT(advice_on(config), ElementsAre(AllOf(HasSubstr("node h"), HasSubstr(host))));
  }
  Config trial = example();
  for (NodeConfig& each : trial.nodes) each.address.host = "127.0.0.1";
  EXPECT_THAT(advice_on(trial), IsEmpty()) << "all on one machine";
}

TEST(Advice, NamesTimesOutOfProportion) {
  Config config = example();
  config.daemon.session_timeout = std::chrono::milliseconds(400);
  EXPECT_THAT(advice_on(config), ElementsAre(HasSubstr("session-timeout: 400ms is so short")));
  config.daemon.session_timeout = std::chrono::minutes(10);
  config.daemon.reconnect_max = std::chrono::minutes(2);
  EXPECT_THAT(advice_on(config),
              ElementsAre(HasSubstr("noticed after 10min"), HasSubstr("found after up to 2min")));
}

TEST(Advice, NamesNodesWithoutAPartAndDisksThatChange) {
  Config config = example();
  config.nodes.push_back({"spare", "", {"10.1.0.99", 7420}});
  config.groups[0].volumes[0].disk["p1"] = "/dev/sdb1";
  EXPECT_THAT(advice_on(config),
              ElementsAre(HasSubstr("node spare has no part"),
                          AllOf(HasSubstr("/dev/sdb1 on p1"), HasSubstr("/dev/disk/by-id"))));
}

class AdviceHere : public testing::Test {
 protected:
  AdviceHere() : config_(example()) {
    char name[] = "/tmp/advice_test.XXXXXX";
    directory_ = ::mkdtemp(name);
    GroupConfig& group = config_.groups[0];
    group.journal["h"] = file("journal");
    for (VolumeConfig& volume : group.volumes) volume.disk["h"] = file(volume.name);
  }
  ~AdviceHere() override { std::filesystem::remove_all(directory_); }

  std::string file(const std::string& name) {
    const std::string path = directory_ + "/" + name;
    std::ofstream{path};
    return path;
  }

  Config config_;
  std::string directory_;
};

TEST_F(AdviceHere, SaysNothingWhereAllIsThere) {
  EXPECT_THAT(advice_here(config_, "h"), IsEmpty());
}

TEST_F(AdviceHere, NamesADeviceThatIsNotThereAndTwoPathsToOne) {
  GroupConfig& group = config_.groups[0];
  std::filesystem::create_symlink(group.journal["h"], directory_ + "/alias");
  group.volumes[0].disk["h"] = directory_ + "/gone";
  group.volumes[1].disk["h"] = directory_ + "/alias";
  EXPECT_THAT(advice_here(config_, "h"),
              ElementsAre(AllOf(HasSubstr("/gone"), HasSubstr("No such file")),
                          AllOf(HasSubstr("journal of group shop"), HasSubstr("the same device"))));
}

TEST_F(AdviceHere, NamesAHostThatDoesNotResolve) {
  node(config_, "r").address.host = "nowhere.invalid";
  EXPECT_THAT(advice_here(config_, "h"),
              ElementsAre(AllOf(HasSubstr("node r"), HasSubstr("nowhere.invalid"))));
}

}  // namespace
}  // namespace cascade
