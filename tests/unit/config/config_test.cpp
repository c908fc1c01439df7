// SPDX-License-Identifier: GPL-2.0-or-later
// The configuration: what is right is taken, what is wrong is named with its place.
#include "lib/config/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cascade {
namespace {

using testing::HasSubstr;

const std::string good = R"(version = 1
[node.p1]
address = "10.0.0.1:7420"
[node.h]
host = "hub"
address = "[fe80::1]:7420"
[node.r]
address = "r.example:7420"
[group.shop]
uuid = "6b6f0c1e-7d7a-4f3e-9a55-0a4f6ea0b001"
hub = "h"
remote = "r"
hub-ack = "memory-sync"
journal = { h = "/dev/j", r = "/dev/j" }
[group.shop.volume.orders]
uuid = "0b9c6f0e-5c1d-4e0b-8f43-2d1f6ea0b002"
primary = "p1"
disk = { p1 = "/dev/o", h = "/dev/o", r = "/dev/o" }
ring-size = "16MiB"
meta = "internal"
[daemon]
heartbeat = "200ms"
)";

std::string refusal(const std::string& text) {
  const auto config = parse_config(text, "c.toml");
  return config ? "accepted" : config.error().text;
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = good;
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Config, SaysWhatBecomesOfWritesWithoutTheHub) {
  const auto with_keys = [](const std::string& keys) {
    return with("hub-ack = \"memory-sync\"", keys);
  };
  const auto config = parse_config(with_keys("fence-level = \"never\"\nlease = \"2s\""), "c.toml");
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->groups.front().fence_level, FenceLevel::never);
  EXPECT_EQ(config->groups.front().lease, std::chrono::milliseconds(2000));
  EXPECT_THAT(refusal(with_keys("fence-level = \"maybe\"")), HasSubstr("data"));
  const std::string witness = with_keys("fence-level = \"witness\"");
  EXPECT_EQ(parse_config(witness, "c.toml")->groups.front().fence_level, FenceLevel::witness);
  std::string alone = witness;
  alone.replace(alone.find("remote = \"r\"\n"), 13, "");
  EXPECT_THAT(refusal(alone),
              HasSubstr("the witness of group shop is its remote, and it has none"));
  EXPECT_THAT(refusal(with_keys("on-fence = \"explode\"")), HasSubstr("io-error"));
  EXPECT_THAT(refusal(with_keys("lease = \"500ms\"")), HasSubstr("three times 'heartbeat'"));
  EXPECT_THAT(refusal(with_keys("lease = \"700s\"")), HasSubstr("to 10min"));
  const auto slow = parse_config(with("\"200ms\"", "\"4s\""), "c.toml");
  ASSERT_TRUE(slow) << slow.error().text;
  EXPECT_EQ(slow->groups.front().lease, std::chrono::milliseconds(12'000)) << "it fits by itself";
}

TEST(Config, SaysWhatBecomesOfAFullJournal) {
  const auto with_keys = [](const std::string& keys) {
    return with("hub-ack = \"memory-sync\"", keys);
  };
  const GroupConfig otherwise = parse_config(good, "c.toml")->groups.front();
  EXPECT_EQ(otherwise.on_journal_full, OnJournalFull::suspend);
  EXPECT_EQ(otherwise.journal_warning_percent, 80u);
  const auto config = parse_config(
      with_keys("on-journal-full = \"throttle\"\njournal-warning = 50\nlag-warning = \"30s\"\n"
                "undo = { r = \"/dev/u\" }"),
      "c.toml");
  ASSERT_TRUE(config) << config.error().text;
  const GroupConfig& group = config->groups.front();
  EXPECT_EQ(group.on_journal_full, OnJournalFull::throttle);
  EXPECT_EQ(group.journal_warning_percent, 50u);
  EXPECT_EQ(group.lag_warning, std::chrono::seconds(30));
  EXPECT_EQ(group.undo.at("r"), "/dev/u");
  EXPECT_THAT(refusal(with_keys("on-journal-full = \"stop\"")), HasSubstr("throttle"));
  EXPECT_THAT(refusal(with_keys("journal-warning = 101")), HasSubstr("from 1 to 100"));
  EXPECT_THAT(refusal(with_keys("undo = { r = \"/dev/j\" }")),
              HasSubstr("same device /dev/j on r"));
}

TEST(Config, SaysHowMuchMayBeShippedWhen) {
  const auto with_keys = [](const std::string& keys) {
    return with("hub-ack = \"memory-sync\"", keys);
  };
  EXPECT_FALSE(parse_config(good, "c.toml")->groups.front().ship_rate.is_limited());
  const auto config = parse_config(
      with_keys("ship-rate = \"50MiB\"\n"
                "ship-rate-at = { \"08:00-18:00\" = \"5MiB\", \"22:00-06:00\" = \"unlimited\" }"),
      "c.toml");
  ASSERT_TRUE(config) << config.error().text;
  const ShipRate& rate = config->groups.front().ship_rate;
  EXPECT_EQ(rate.at(12 * 60), Rate{5 << 20});
  EXPECT_EQ(rate.at(20 * 60), Rate{50 << 20});
  EXPECT_EQ(rate.at(60), Rate{});
  EXPECT_EQ(parse_config(good, "c.toml")->groups.front().ship_compress, Codec::none);
  EXPECT_EQ(
      parse_config(with_keys("ship-compress = \"zstd\""), "c.toml")->groups.front().ship_compress,
      Codec::zstd);
  EXPECT_THAT(refusal(with_keys("ship-compress = \"gzip\"")), HasSubstr("lz4"));
  EXPECT_EQ(parse_config(with_keys("ship-congestion = \"bbr\""), "c.toml")
                ->groups.front()
                .ship_congestion,
            "bbr");
  EXPECT_THAT(refusal(with_keys("ship-congestion = \"Reno and more\"")), HasSubstr("like \"bbr\""));
  EXPECT_THAT(refusal(with_keys("ship-rate = \"fast\"")), HasSubstr("like \"5MiB\""));
  EXPECT_THAT(refusal(with_keys("ship-rate-at = { noon = \"5MiB\" }")), HasSubstr("08:00-18:00"));
  EXPECT_THAT(refusal(with_keys("ship-rate-at = { \"08:00-18:00\" = \"5MB\" }")),
              HasSubstr("'ship-rate-at' is '5MB'"));
  EXPECT_THAT(refusal(with_keys("ship-rate-at = { \"08:00-18:00\" = \"5MiB\", "
                                "\"17:59-19:00\" = \"6MiB\" }")),
              HasSubstr("08:00-18:00 and 17:59-19:00 overlap"));
}

TEST(Config, IsReadWhole) {
  const auto config = parse_config(good, "c.toml");
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->nodes.size(), 3u);
  EXPECT_EQ(config->node("h")->address.host, "fe80::1");
  const GroupConfig& group = config->groups.front();
  EXPECT_EQ(group.hub_ack, AckWhen::memory_sync);
  EXPECT_EQ(group.ship, ShipWhen::stored);
  EXPECT_EQ(group.fence_level, FenceLevel::data);
  EXPECT_EQ(group.lease, std::chrono::milliseconds(5000));
  EXPECT_EQ(group.volumes.front().ring_bytes, 16u << 20);
  EXPECT_TRUE(group.volumes.front().meta.empty());
  const auto own = parse_config(with("\"internal\"", "{ p1 = \"/dev/m\" }"), "c.toml");
  ASSERT_TRUE(own) << own.error().text;
  EXPECT_EQ(own->groups.front().volumes.front().meta.at("p1"), "/dev/m");
  EXPECT_EQ(config->daemon.heartbeat, std::chrono::milliseconds(200));
}

TEST(Config, PlacesOfNodesThatTakeOverARoleSomeDayAreRight) {
  const auto config =
      parse_config(with("h = \"/dev/j\"", "p1 = \"/dev/k\", h = \"/dev/j\""), "c.toml");
  ASSERT_TRUE(config) << config.error().text;
  const GroupConfig& group = config->groups.front();
  EXPECT_EQ(group.journal.at("p1"), "/dev/k");
  EXPECT_FALSE(group.keeps_journal("p1"));
  EXPECT_TRUE(group.keeps_journal("h") && group.keeps_journal("r"));
  EXPECT_TRUE(parse_config(with("\"internal\"", "{ p1 = \"/dev/m\", h = \"/dev/m\" }"), "c.toml"));
}

TEST(Config, TheShippedExampleIsRight) {
  const auto config = load_config(EXAMPLE);
  EXPECT_TRUE(config) << config.error().text;
}

struct Wrong {
  const char* from;
  const char* to;
  const char* place;
  const char* says;
};

TEST(Config, WhatIsWrongIsNamedWithItsPlace) {
  const Wrong table[] = {
      {"version = 1", "version = 2", "c.toml:1:", "'version' must be 1"},
      {"version = 1", "versio = 1", "c.toml:1:", "lacks 'version'"},
      {"version = 1", "version = ", "c.toml:1:", ""},
      {"hub-ack", "hub-akc", "c.toml:13:", "did you mean 'hub-ack'?"},
      {"\"memory-sync\"", "\"maybe\"", "c.toml:13:", "must be one of sync, memory-sync"},
      {"hub = \"h\"", "hub = \"x\"",
       "c.toml:11:", "names node 'x', which is not there; nodes: p1, h, r"},
      {"hub = \"h\"", "hub = 7", "c.toml:11:", "must be text in quotes"},
      {"remote = \"r\"", "remote = \"h\"", "c.toml:12:", "hub and remote are both h"},
      {"primary = \"p1\"", "primary = \"h\"", "c.toml:17:", "h is the hub of the group"},
      {"10.0.0.1:7420", "10.0.0.1", "c.toml:3:", "write HOST:PORT"},
      {"10.0.0.1:7420", "10.0.0.1:99999", "c.toml:3:", "write HOST:PORT"},
      {"[node.p1]", "[node.P1]", "c.toml:2:", "must be 1 to 31 characters"},
      {", r = \"/dev/j\"", "", "c.toml:14:", "lacks an entry for r"},
      {"p1 = \"/dev/o\", ", "", "c.toml:18:", "lacks an entry for p1"},
      {"p1 = \"/dev/o\"", "p1 = \"dev\"", "c.toml:18:", "begins with /"},
      {"h = \"/dev/j\"", "h = \"/dev/o\"", "c.toml:", "same device /dev/o on h"},
      {"h = \"/dev/j\"", "x = \"/dev/k\", h = \"/dev/j\"", "c.toml:14:", "'x', which is not there"},
      {"16MiB", "15MiB", "c.toml:19:", "power of two"},
      {"16MiB", "512KiB", "c.toml:19:", "from 1 MiB to 64 MiB"},
      {"16MiB", "many", "c.toml:19:", "a size like"},
      {"meta = \"internal\"", "", "c.toml:15:", "lacks 'meta'"},
      {"\"internal\"", "\"external\"", "c.toml:20:", "must be \"internal\" or a table like"},
      {"\"internal\"", "{ h = \"/dev/m\" }", "c.toml:20:", "lacks an entry for p1"},
      {"\"internal\"", "{ p1 = \"/dev/m\", h = \"/dev/o\" }", "c.toml:", "same device /dev/o on h"},
      {"\"internal\"", "{ p1 = \"/dev/o\" }", "c.toml:", "same device /dev/o on p1"},
      {"200ms", "fast", "c.toml:22:", "a duration like"},
      {"200ms", "9s", "c.toml:", "at least twice 'heartbeat'"},
      {"0b9c6f0e-5c1d-4e0b-8f43-2d1f6ea0b002", "6b6f0c1e-7d7a-4f3e-9a55-0a4f6ea0b001",
       "c.toml:", "have the same UUID"},
      {"0b9c6f0e-5c1d", "0b9c6f0e-5c1", "c.toml:16:", "is not a UUID"},
      {"0b9c6f0e-5c1d-4e0b-8f43-2d1f6ea0b002", "00000000-0000-0000-0000-000000000000",
       "c.toml:16:", "make one with uuidgen"},
      {"10.0.0.1:7420", "2001:db8::7420", "c.toml:3:", "like \"[2001:db8::11]:7420\""},
      {"10.0.0.1:7420", "r.example:7420",
       "c.toml:", "node p1 and node r have the same address r.example port 7420"},
      {"host = \"hub\"", "host = \"p1\"",
       "c.toml:", "node p1 and node h have the same host name p1"},
      {"h = \"/dev/j\"", "h = \"/dev/../dev//o\"", "c.toml:", "same device /dev/o on h"},
      {"200ms", "1ms", "c.toml:22:", "'heartbeat' must be from 20ms to"},
      {"\"200ms\"", "\"100s\"\nsession-timeout = \"9223372036854775807ms\"",
       "c.toml:23:", "'session-timeout' must be from"},
      {"\"200ms\"", "\"1s\"\nreconnect-max = \"100min\"", "c.toml:23:", "must be from 10ms to"},
      {"\"200ms\"", "\"1s\"\nsocket = \"run/sock\"", "c.toml:23:", "begins with /"},
      {"[daemon]", "[deamon]", "c.toml:21:", "did you mean 'daemon'?"},
  };
  for (const Wrong& wrong : table) {
    const std::string text = refusal(with(wrong.from, wrong.to));
    EXPECT_THAT(text, HasSubstr(wrong.place)) << wrong.from << " -> " << wrong.to;
    EXPECT_THAT(text, HasSubstr(wrong.says)) << wrong.from << " -> " << wrong.to;
    EXPECT_THAT(text, testing::Not(HasSubstr("\n")));
  }
}

TEST(Config, ASocketPathThatNoSocketCanHaveIsRefused) {
  const auto with_socket = [](std::size_t length) {
    return with("[daemon]", "[daemon]\nsocket = \"/" + std::string(length - 1, 's') + "\"");
  };
  EXPECT_EQ(refusal(with_socket(107)), "accepted");
  EXPECT_THAT(refusal(with_socket(108)), HasSubstr("of at most 107 characters"));
}

TEST(Config, EmptyAndGarbageAreRefused) {
  EXPECT_THAT(refusal(""), HasSubstr("version"));
  EXPECT_THAT(refusal("version = 1"), HasSubstr("no group"));
  EXPECT_THAT(refusal("\x01\x02"), HasSubstr("c.toml:1:"));
  EXPECT_THAT(refusal("version = 1\n\"a\\n\\u001b[2Jb\" = 1"), HasSubstr("a??[2Jb"));
  EXPECT_THAT(refusal("[,"), HasSubstr("c.toml:1:2: "));  // asserted inside toml++
  EXPECT_THAT(load_config("/nowhere.toml").error().text, HasSubstr("/nowhere.toml: "));
}

TEST(ThisNode, IsFoundByHostOrByName) {
  const Config config = *parse_config(good, "c.toml");
  EXPECT_EQ(*find_this_node(config, {}, "hub"), "h");
  EXPECT_EQ(*find_this_node(config, {}, "p1"), "p1");
  EXPECT_EQ(*find_this_node(config, "r", "hub"), "r");
  EXPECT_THAT(find_this_node(config, {}, "x").error().text,
              HasSubstr("no node has the host name 'x'"));
  EXPECT_THAT(find_this_node(config, "x", "hub").error().text, HasSubstr("no node 'x'"));
}

}  // namespace
}  // namespace cascade
