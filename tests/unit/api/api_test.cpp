// SPDX-License-Identifier: GPL-2.0-or-later
// Status as JSON: the bytes that users' scripts rely on.
#include "lib/api/api.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace cascade::api {
namespace {

using testing::HasSubstr;

StatusReport a_report() {
  StatusReport report;
  report.version = "0.1.0";
  report.time = "2026-11-23T08:30:00.123Z";
  report.node = "h";
  report.listener = Listener{"10.1.0.11:7420", "listening", "", false};
  Group group;
  group.name = "shop";
  group.uuid = "6b6f0c1e-7d7a-4f3e-9a55-0a4f6ea0b001";
  group.roles = {"hub"};
  group.send_order = "parallel";
  group.hub_ack = group.remote_ack = "sync";
  group.ship = "stored";
  group.on_journal_full = "suspend";
  group.links = {{"p1", "upstream", "connected", "", 10, 20, 1, "large ones"}};
  group.links[0].unpacked_bytes = 40;
  group.links[0].congestion = "no bbr";
  group.links[0].compress = "zstd";
  Volume hub{"orders",
             "0b9c6f0e-5c1d-4e0b-8f43-2d1f6ea0b002",
             "p1",
             "hub",
             "replicating",
             "",
             1 << 20,
             {},
             7,
             6,
             "1c3e5f70-9b1d-4c68-8a4e-3d2b1a0f9e8d",
             ""};
  Volume primary = hub;
  primary.role = "primary";
  primary.received_seq = primary.stored_seq = std::nullopt;
  primary.ring = Ring{"attached", 9, 8, 7, 6};
  primary.differs = "a local write failed";
  primary.local_errors = 2;
  primary.local_write_failed = true;
  primary.out_of_sync_bytes = 262144;
  primary.resynced_bytes = 524288;
  primary.same_bytes = 786432;
  primary.resync_seconds_left = 12.5;
  primary.fence_level = "never";
  primary.alone_since = "2026-11-23T08:28:00.000Z";
  primary.lease_seconds = 2.5;
  primary.verify =
      Verify{"waiting", "2026-11-23T08:20:00.000Z", 4096, 1048576, 262144, 512, 65536, {}};
  primary.verify->copies = {
      {"h", "2026-11-23T08:20:01.000Z", 8192, 4096, 512, {{65536, 512}}, 1024}};
  group.volumes = {hub, primary};
  group.journal = Journal{"/dev/j", "ok", "", "", 1 << 24, 4096, 7, 6, 5, 4};
  group.journal->applied_time = "2026-11-23T08:26:00.000Z";
  group.journal->apply_delay_seconds = 60;
  group.journal->apply_delay_short = true;
  group.journal->consistent = true;
  group.journal->copies_reason = "a copy failed";
  group.journal->copies_failure = "io";
  group.journal->ship_reason = "a batch is damaged";
  group.journal->ship_failure = "corrupt";
  group.bracket =
      Bracket{5,     2,       {{"ledger", "resend", "2026-11-23T08:29:00.000Z", "write 9"}},
              true,  "undo",  "/dev/u",
              69632, 1 << 20, true};
  group.takeover = Takeover{"shop",
                            "h",
                            "promoting",
                            "11111111-2222-4333-8444-555555555555",
                            "2026-11-23T08:31:00.000Z",
                            true,
                            "2026-11-23T08:30:00.000Z",
                            7,
                            2,
                            1,
                            false,
                            {{"may-lack-writes", "orders", "t"}},
                            {{"orders", "/dev/o"}}};
  group.drill =
      Drill{"running", "2026-11-23T08:32:00.000Z", 7, {{"orders", "/dev/d", 8192, 65536, true}}};
  group.conditions = {
      {"BRACKET_OPEN", "warning", "ledger", "2026-11-23T08:29:01.000Z", "r", "a", "i"}};
  group.remote = RemoteLag{5,      4,
                           2,      8192,
                           1.5,    "2026-11-23T08:27:00.000Z",
                           262144, 131072,
                           3.5,    "a copy can't be read",
                           3,      512,
                           1024,   true,
                           true,   "a copy failed"};
  group.remote->ship_rate_bytes = 5 << 20;
  group.remote->replacing = true;
  group.latency = {{"ring", 3, 0.5, {{4, 2}, {640, 1}}}, {"send", 0, 0, {}}};
  report.conditions = {
      {"NOT_LISTENING", "error", "listener", "2026-11-23T08:29:02.000Z", "r", "a", "i"}};
  report.groups = {group};
  return report;
}

TEST(StatusJson, IsTheGoldenFile) {
  std::ifstream file(GOLDEN);
  std::string golden;
  std::getline(file, golden);
  EXPECT_EQ(to_json(a_report()), golden);
}

TEST(StatusJson, ComesBackAsItWas) {
  const auto back = parse_status(to_json(a_report()));
  ASSERT_TRUE(back) << back.error().text;
  EXPECT_EQ(to_json(*back), to_json(a_report()));
}

TEST(Latency, OfAnIntervalIsWhatCameSince) {
  const Latency before{"ring", 3, 0.5, {{4, 2}, {640, 1}}};
  const Latency now{"ring", 6, 0.75, {{4, 2}, {8, 1}, {640, 3}}};
  const Latency since = now - before;
  EXPECT_EQ(since.count, 3u);
  EXPECT_DOUBLE_EQ(since.sum_seconds, 0.25);
  ASSERT_EQ(since.buckets.size(), 2u);
  EXPECT_EQ(since.buckets[0].below_us, 8u);
  EXPECT_EQ(since.buckets[1].count, 2u);
  EXPECT_EQ((before - now).count, 3u) << "another daemon has begun meanwhile";
}

TEST(Latency, HasPercentiles) {
  const Latency latency{"ring", 100, 0, {{4, 50}, {8, 49}, {640, 1}}};
  EXPECT_EQ(percentile_us(latency, 0.5), 4u);
  EXPECT_EQ(percentile_us(latency, 0.51), 8u);
  EXPECT_EQ(percentile_us(latency, 0.99), 8u);
  EXPECT_EQ(percentile_us(latency, 1), 640u);
  EXPECT_EQ(percentile_us(Latency{}, 0.5), 0u);
}

TEST(Latency, IsTypedData) {
  const std::string json = latency_json(a_report());
  EXPECT_THAT(json, HasSubstr(R"({"schema":"dmcascade.latency/1","node":"h")"));
  EXPECT_THAT(
      json,
      HasSubstr(
          R"("stage":"ring","count":3,"sum_seconds":5E-1,"buckets":[{"below_us":4,"count":2},{"below_us":640,"count":1}],"p50_us":4,"p99_us":640,"p999_us":640})"));
}

TEST(StatusJson, EmptyPartsAreNullAndStillThere) {
  StatusReport report = a_report();
  report.groups[0].journal.reset();
  report.groups[0].remote.reset();
  EXPECT_THAT(to_json(report), HasSubstr("\"journal\":null,\"remote\":null"));
}

TEST(StatusJson, AnErrorAnswerIsThatError) {
  const auto back = parse_status(error_json({Errc::refused, "not now"}));
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, Errc::refused);
  EXPECT_EQ(back.error().text, "not now");
}

TEST(StatusJson, GarbageIsAnErrorNotAnException) {
  for (const char* text : {"", "{", "[]", "{}", "{\"schema\":\"other/1\"}",
                           "{\"schema\":\"dmcascade.status/1\",\"groups\":[{\"links\":7}]}"})
    EXPECT_FALSE(parse_status(text)) << text;
}

TEST(Request, NamesACommand) {
  EXPECT_EQ(parse_request(request_json({"status"}))->command, "status");
  const auto end = parse_request(request_json({"bracket-end", "shop", "orders"}));
  ASSERT_TRUE(end);
  EXPECT_EQ(end->group, "shop");
  EXPECT_EQ(end->volume, "orders");
  Request verify{"verify-begin", "shop", "orders"};
  verify.from_bytes = 4096;
  verify.rate_bytes = 1 << 20;
  verify.repair = true;
  const auto back = parse_request(request_json(verify));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->from_bytes, 4096u);
  EXPECT_TRUE(back->repair);
  EXPECT_EQ(back->rate_bytes, 1u << 20);
  for (const char* text : {"", "status", "[]", "{}", "{\"command\": 7}",
                           "{\"command\": \"verify-begin\", \"rate_bytes\": \"fast\"}",
                           "{\"command\": \"verify-begin\", \"from_bytes\": -1}"})
    EXPECT_FALSE(parse_request(text)) << text;
}

TEST(Health, IsTheWorstOfNodeAndGroups) {
  StatusReport report = a_report();
  const Health both = health_of(report);
  EXPECT_EQ(both.state, "error");
  ASSERT_EQ(both.findings.size(), 2u);
  EXPECT_EQ(both.findings[0].condition.code, "NOT_LISTENING");
  EXPECT_EQ(both.findings[1].group, "shop");
  EXPECT_THAT(to_json(both), HasSubstr(R"("schema":"dmcascade.health/1","node":"h")"));
  EXPECT_THAT(to_json(both), HasSubstr(R"("impact":"i","group":"shop")"));

  report.conditions.clear();
  EXPECT_EQ(health_of(report).state, "warning");
  EXPECT_EQ(health_of(report, {"shop"}).state, "warning");
  EXPECT_EQ(health_of(report, {"other"}).state, "ok");
  report.groups[0].conditions[0].severity = "info";
  EXPECT_EQ(health_of(report).state, "ok") << "what is merely so is not wrong";
  EXPECT_EQ(health_of(report).findings.size(), 1u);
}

}  // namespace
}  // namespace cascade::api
