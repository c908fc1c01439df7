// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/api/api.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>

namespace cascade::api {
namespace {

namespace json = boost::json;

// ---- values to JSON: every field, always

template <class T>
json::value or_null(const std::optional<T>& value) {
  if (!value) return nullptr;
  return json::value_from(*value);
}

}  // namespace

void tag_invoke(json::value_from_tag, json::value& out, const Link& v) {
  out = {{"peer", v.peer},
         {"direction", v.direction},
         {"state", v.state},
         {"reason", v.reason},
         {"sent_bytes", v.sent_bytes},
         {"received_bytes", v.received_bytes},
         {"sessions", v.sessions},
         {"loss", v.loss},
         {"unpacked_bytes", v.unpacked_bytes},
         {"congestion", v.congestion},
         {"compress", v.compress}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Ring& v) {
  out = {{"daemon", v.daemon},
         {"published", v.published},
         {"received", v.received},
         {"stored", v.stored},
         {"released", v.released}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Verify::Range& v) {
  out = {{"begin_bytes", v.begin_bytes}, {"bytes", v.bytes}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Verify::Copy& v) {
  out = {{"node", v.node},
         {"since", v.since},
         {"compared_bytes", v.compared_bytes},
         {"skipped_bytes", v.skipped_bytes},
         {"differing_bytes", v.differing_bytes},
         {"ranges", json::value_from(v.ranges)},
         {"repaired_bytes", v.repaired_bytes}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Verify& v) {
  out = {{"state", v.state},
         {"since", v.since},
         {"from_bytes", v.from_bytes},
         {"next_bytes", v.next_bytes},
         {"out_of_sync_bytes", v.out_of_sync_bytes},
         {"unreadable_bytes", v.unreadable_bytes},
         {"doubtful_bytes", v.doubtful_bytes},
         {"copies", json::value_from(v.copies)}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Volume& v) {
  out = {{"name", v.name},
         {"uuid", v.uuid},
         {"primary", v.primary},
         {"role", v.role},
         {"state", v.state},
         {"reason", v.reason},
         {"size_bytes", v.size_bytes},
         {"ring", or_null(v.ring)},
         {"received_seq", or_null(v.received_seq)},
         {"stored_seq", or_null(v.stored_seq)},
         {"generation", v.generation},
         {"differs", v.differs},
         {"local_errors", v.local_errors},
         {"local_write_failed", v.local_write_failed},
         {"out_of_sync_bytes", or_null(v.out_of_sync_bytes)},
         {"resynced_bytes", or_null(v.resynced_bytes)},
         {"same_bytes", or_null(v.same_bytes)},
         {"resync_seconds_left", or_null(v.resync_seconds_left)},
         {"fence_level", v.fence_level},
         {"alone_since", v.alone_since},
         {"lease_seconds", or_null(v.lease_seconds)},
         {"verify", or_null(v.verify)}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Journal& v) {
  out = {{"path", v.path},
         {"state", v.state},
         {"reason", v.reason},
         {"failure", v.failure},
         {"size_bytes", v.size_bytes},
         {"used_bytes", v.used_bytes},
         {"received_seq", v.received_seq},
         {"stored_seq", v.stored_seq},
         {"applied_seq", v.applied_seq},
         {"checkpoint_seq", v.checkpoint_seq},
         {"applied_time", v.applied_time},
         {"apply_delay_seconds", or_null(v.apply_delay_seconds)},
         {"apply_delay_short", v.apply_delay_short},
         {"consistent", v.consistent},
         {"copies_reason", v.copies_reason},
         {"copies_failure", v.copies_failure},
         {"ship_reason", v.ship_reason},
         {"ship_failure", v.ship_failure}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Bracket::Waiting& v) {
  out = {{"volume", v.volume}, {"why", v.why}, {"since", v.since}, {"waits_for", v.waits_for}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Bracket& v) {
  out = {{"applied_through", v.applied_through},
         {"held_writes", v.held_writes},
         {"volumes", json::value_from(v.volumes)},
         {"catching_up", v.catching_up},
         {"past", v.past},
         {"undo_path", v.undo_path},
         {"undo_used_bytes", v.undo_used_bytes},
         {"undo_size_bytes", v.undo_size_bytes},
         {"undo_full", v.undo_full}};
}

void tag_invoke(json::value_from_tag, json::value& out, const RemoteLag& v) {
  out = {{"received_seq", v.received_seq},
         {"stored_seq", v.stored_seq},
         {"backlog_writes", v.backlog_writes},
         {"backlog_bytes", v.backlog_bytes},
         {"lag_seconds", v.lag_seconds},
         {"behind_since", v.behind_since},
         {"out_of_sync_bytes", v.out_of_sync_bytes},
         {"same_bytes", v.same_bytes},
         {"seconds_left", or_null(v.seconds_left)},
         {"reason", v.reason},
         {"applied_seq", or_null(v.applied_seq)},
         {"journal_used_bytes", or_null(v.journal_used_bytes)},
         {"journal_size_bytes", or_null(v.journal_size_bytes)},
         {"bracket", v.bracket},
         {"journal_full", v.journal_full},
         {"copies_reason", v.copies_reason},
         {"ship_rate_bytes", or_null(v.ship_rate_bytes)},
         {"replacing", v.replacing}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Condition& v) {
  out = {{"code", v.code},     {"severity", v.severity}, {"subject", v.subject}, {"since", v.since},
         {"reason", v.reason}, {"action", v.action},     {"impact", v.impact}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Listener& v) {
  out = {
      {"address", v.address}, {"state", v.state}, {"reason", v.reason}, {"loopback", v.loopback}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Latency::Bucket& v) {
  out = {{"below_us", v.below_us}, {"count", v.count}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Latency& v) {
  out = {{"stage", v.stage},
         {"count", v.count},
         {"sum_seconds", v.sum_seconds},
         {"buckets", json::value_from(v.buckets)}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Takeover::Doubt& v) {
  out = {{"force", v.force}, {"subject", v.subject}, {"text", v.text}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Takeover::Copy& v) {
  out = {{"volume", v.volume}, {"path", v.path}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Takeover& v) {
  out = {{"group", v.group},
         {"node", v.node},
         {"state", v.state},
         {"generation", v.generation},
         {"since", v.since},
         {"newest", v.newest},
         {"at", v.at},
         {"through_seq", v.through_seq},
         {"left_writes", v.left_writes},
         {"beyond_writes", v.beyond_writes},
         {"lossless", v.lossless},
         {"doubts", json::value_from(v.doubts)},
         {"copies", json::value_from(v.copies)}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Drill::Image& v) {
  out = {{"volume", v.volume},
         {"path", v.path},
         {"used_bytes", v.used_bytes},
         {"space_bytes", v.space_bytes},
         {"broken", v.broken}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Drill& v) {
  out = {{"state", v.state},
         {"since", v.since},
         {"as_of_seq", v.as_of_seq},
         {"images", json::value_from(v.images)}};
}

void tag_invoke(json::value_from_tag, json::value& out, const Group& v) {
  out = {{"name", v.name},
         {"uuid", v.uuid},
         {"roles", json::value_from(v.roles)},
         {"send_order", v.send_order},
         {"hub_ack", v.hub_ack},
         {"ship", v.ship},
         {"remote_ack", v.remote_ack},
         {"on_journal_full", v.on_journal_full},
         {"links", json::value_from(v.links)},
         {"volumes", json::value_from(v.volumes)},
         {"journal", or_null(v.journal)},
         {"remote", or_null(v.remote)},
         {"bracket", or_null(v.bracket)},
         {"takeover", or_null(v.takeover)},
         {"drill", or_null(v.drill)},
         {"conditions", json::value_from(v.conditions)},
         {"latency", json::value_from(v.latency)}};
}

namespace {

// ---- JSON to values: what is missing keeps its default, so that an older daemon can be read

class Fields {
 public:
  explicit Fields(const json::object& object) : object_(object) {}

  const Fields& get(std::string_view key, std::string& out) const {
    if (const auto* v = at(key)) out = std::string(v->as_string());
    return *this;
  }
  const Fields& get(std::string_view key, std::uint64_t& out) const {
    if (const auto* v = at(key)) out = v->to_number<std::uint64_t>();
    return *this;
  }
  const Fields& get(std::string_view key, bool& out) const {
    if (const auto* v = at(key)) out = v->as_bool();
    return *this;
  }
  const Fields& get(std::string_view key, double& out) const {
    if (const auto* v = at(key)) out = v->to_number<double>();
    return *this;
  }
  const Fields& get(std::string_view key, std::optional<double>& out) const {
    if (const auto* v = at(key)) out = v->to_number<double>();
    return *this;
  }
  const Fields& get(std::string_view key, std::optional<std::uint64_t>& out) const {
    if (const auto* v = at(key)) out = v->to_number<std::uint64_t>();
    return *this;
  }
  const Fields& get(std::string_view key, std::vector<std::string>& out) const {
    if (const auto* v = at(key))
      for (const auto& item : v->as_array()) out.emplace_back(item.as_string());
    return *this;
  }
  template <class T>
  const Fields& each(std::string_view key, std::vector<T>& out, T (*read)(const Fields&)) const {
    if (const auto* v = at(key))
      for (const auto& item : v->as_array()) out.push_back(read(Fields(item.as_object())));
    return *this;
  }
  template <class T>
  const Fields& maybe(std::string_view key, std::optional<T>& out, T (*read)(const Fields&)) const {
    if (const auto* v = at(key)) out = read(Fields(v->as_object()));
    return *this;
  }

 private:
  const json::value* at(std::string_view key) const {
    const auto* v = object_.if_contains(key);
    return v == nullptr || v->is_null() ? nullptr : v;
  }
  const json::object& object_;
};

Link read_link(const Fields& f) {
  Link v;
  f.get("peer", v.peer).get("direction", v.direction).get("state", v.state).get("reason", v.reason);
  f.get("sent_bytes", v.sent_bytes).get("received_bytes", v.received_bytes);
  f.get("sessions", v.sessions).get("loss", v.loss);
  f.get("unpacked_bytes", v.unpacked_bytes).get("compress", v.compress);
  f.get("congestion", v.congestion);
  return v;
}

Ring read_ring(const Fields& f) {
  Ring v;
  f.get("daemon", v.daemon).get("published", v.published).get("received", v.received);
  f.get("stored", v.stored).get("released", v.released);
  return v;
}

Verify::Range read_range(const Fields& f) {
  Verify::Range v;
  f.get("begin_bytes", v.begin_bytes).get("bytes", v.bytes);
  return v;
}

Verify::Copy read_verified(const Fields& f) {
  Verify::Copy v;
  f.get("node", v.node).get("since", v.since).get("compared_bytes", v.compared_bytes);
  f.get("skipped_bytes", v.skipped_bytes).get("differing_bytes", v.differing_bytes);
  f.each("ranges", v.ranges, read_range).get("repaired_bytes", v.repaired_bytes);
  return v;
}

Verify read_verify(const Fields& f) {
  Verify v;
  f.get("state", v.state).get("since", v.since);
  f.get("from_bytes", v.from_bytes).get("next_bytes", v.next_bytes);
  f.get("out_of_sync_bytes", v.out_of_sync_bytes).get("unreadable_bytes", v.unreadable_bytes);
  f.get("doubtful_bytes", v.doubtful_bytes).each("copies", v.copies, read_verified);
  return v;
}

Volume read_volume(const Fields& f) {
  Volume v;
  f.get("name", v.name).get("uuid", v.uuid).get("primary", v.primary).get("role", v.role);
  f.get("state", v.state).get("reason", v.reason).get("size_bytes", v.size_bytes);
  f.maybe("ring", v.ring, read_ring);
  f.get("received_seq", v.received_seq).get("stored_seq", v.stored_seq);
  f.get("generation", v.generation).get("differs", v.differs);
  f.get("local_errors", v.local_errors).get("local_write_failed", v.local_write_failed);
  f.get("out_of_sync_bytes", v.out_of_sync_bytes);
  f.get("same_bytes", v.same_bytes);
  f.get("resynced_bytes", v.resynced_bytes).get("fence_level", v.fence_level);
  f.get("resync_seconds_left", v.resync_seconds_left);
  f.get("alone_since", v.alone_since).get("lease_seconds", v.lease_seconds);
  f.maybe("verify", v.verify, read_verify);
  return v;
}

Journal read_journal(const Fields& f) {
  Journal v;
  f.get("path", v.path).get("state", v.state).get("reason", v.reason);
  f.get("failure", v.failure);
  f.get("size_bytes", v.size_bytes).get("used_bytes", v.used_bytes);
  f.get("received_seq", v.received_seq).get("stored_seq", v.stored_seq);
  f.get("applied_seq", v.applied_seq).get("checkpoint_seq", v.checkpoint_seq);
  f.get("applied_time", v.applied_time).get("apply_delay_seconds", v.apply_delay_seconds);
  f.get("apply_delay_short", v.apply_delay_short);
  f.get("consistent", v.consistent).get("copies_reason", v.copies_reason);
  f.get("copies_failure", v.copies_failure);
  f.get("ship_reason", v.ship_reason).get("ship_failure", v.ship_failure);
  return v;
}

Bracket::Waiting read_waiting(const Fields& f) {
  Bracket::Waiting v;
  f.get("volume", v.volume).get("why", v.why).get("since", v.since).get("waits_for", v.waits_for);
  return v;
}

Bracket read_bracket(const Fields& f) {
  Bracket v;
  f.get("applied_through", v.applied_through).get("held_writes", v.held_writes);
  f.each("volumes", v.volumes, read_waiting).get("catching_up", v.catching_up);
  f.get("past", v.past).get("undo_path", v.undo_path).get("undo_full", v.undo_full);
  f.get("undo_used_bytes", v.undo_used_bytes).get("undo_size_bytes", v.undo_size_bytes);
  return v;
}

RemoteLag read_lag(const Fields& f) {
  RemoteLag v;
  f.get("received_seq", v.received_seq).get("stored_seq", v.stored_seq);
  f.get("backlog_writes", v.backlog_writes).get("backlog_bytes", v.backlog_bytes);
  f.get("lag_seconds", v.lag_seconds).get("behind_since", v.behind_since);
  f.get("out_of_sync_bytes", v.out_of_sync_bytes).get("seconds_left", v.seconds_left);
  f.get("same_bytes", v.same_bytes);
  f.get("reason", v.reason).get("applied_seq", v.applied_seq).get("bracket", v.bracket);
  f.get("journal_used_bytes", v.journal_used_bytes);
  f.get("journal_size_bytes", v.journal_size_bytes).get("journal_full", v.journal_full);
  f.get("copies_reason", v.copies_reason).get("ship_rate_bytes", v.ship_rate_bytes);
  f.get("replacing", v.replacing);
  return v;
}

Condition read_condition(const Fields& f) {
  Condition v;
  f.get("code", v.code).get("severity", v.severity).get("subject", v.subject);
  f.get("since", v.since).get("reason", v.reason).get("action", v.action);
  f.get("impact", v.impact);
  return v;
}

Listener read_listener(const Fields& f) {
  Listener v;
  f.get("address", v.address).get("state", v.state).get("reason", v.reason);
  f.get("loopback", v.loopback);
  return v;
}

Latency::Bucket read_bucket(const Fields& f) {
  Latency::Bucket v{};
  f.get("below_us", v.below_us).get("count", v.count);
  return v;
}

Latency read_latency(const Fields& f) {
  Latency v;
  f.get("stage", v.stage).get("count", v.count).get("sum_seconds", v.sum_seconds);
  f.each("buckets", v.buckets, read_bucket);
  return v;
}

Takeover::Doubt read_doubt(const Fields& f) {
  Takeover::Doubt v;
  f.get("force", v.force).get("subject", v.subject).get("text", v.text);
  return v;
}

Takeover::Copy read_copy(const Fields& f) {
  Takeover::Copy v;
  f.get("volume", v.volume).get("path", v.path);
  return v;
}

Takeover read_takeover(const Fields& f) {
  Takeover v;
  f.get("group", v.group).get("node", v.node).get("state", v.state).get("since", v.since);
  f.get("generation", v.generation).get("newest", v.newest).get("lossless", v.lossless);
  f.get("at", v.at).get("through_seq", v.through_seq).get("left_writes", v.left_writes);
  f.get("beyond_writes", v.beyond_writes);
  f.each("doubts", v.doubts, read_doubt).each("copies", v.copies, read_copy);
  return v;
}

Drill::Image read_image(const Fields& f) {
  Drill::Image v;
  f.get("volume", v.volume).get("path", v.path).get("broken", v.broken);
  f.get("used_bytes", v.used_bytes).get("space_bytes", v.space_bytes);
  return v;
}

Drill read_drill(const Fields& f) {
  Drill v;
  f.get("state", v.state).get("since", v.since).get("as_of_seq", v.as_of_seq);
  f.each("images", v.images, read_image);
  return v;
}

Group read_group(const Fields& f) {
  Group v;
  f.get("name", v.name).get("uuid", v.uuid).get("roles", v.roles);
  f.get("send_order", v.send_order).get("hub_ack", v.hub_ack);
  f.get("ship", v.ship).get("remote_ack", v.remote_ack);
  f.get("on_journal_full", v.on_journal_full);
  f.each("links", v.links, read_link).each("volumes", v.volumes, read_volume);
  f.maybe("journal", v.journal, read_journal).maybe("remote", v.remote, read_lag);
  f.maybe("bracket", v.bracket, read_bracket).maybe("takeover", v.takeover, read_takeover);
  f.maybe("drill", v.drill, read_drill);
  f.each("conditions", v.conditions, read_condition).each("latency", v.latency, read_latency);
  return v;
}

struct CodeWord {
  Errc code;
  std::string_view word;
};
constexpr CodeWord code_words[] = {
    {Errc::invalid, "invalid"}, {Errc::corrupt, "corrupt"}, {Errc::version, "version"},
    {Errc::foreign, "foreign"}, {Errc::io, "io"},           {Errc::closed, "closed"},
    {Errc::refused, "refused"}, {Errc::full, "full"},       {Errc::not_found, "not_found"},
};

Errc code_of(std::string_view word) {
  for (const auto& [code, name] : code_words)
    if (name == word) return code;
  return Errc::refused;
}

/// The daemon's error answer, as the error that it is.
Error read_error(const json::object& object) {
  std::string code, text;
  Fields(object.at("error").as_object()).get("code", code).get("message", text);
  return Error{code_of(code), text};
}

Error not_understood(const char* what) {
  return Error{Errc::invalid, fmt::format("the daemon's answer can't be understood: {}", what)};
}

StatusReport read_status(const json::object& object) {
  StatusReport v;
  Fields(object)
      .get("version", v.version)
      .get("time", v.time)
      .get("node", v.node)
      .maybe("listener", v.listener, read_listener)
      .each("conditions", v.conditions, read_condition)
      .each("groups", v.groups, read_group);
  return v;
}

}  // namespace

std::string_view word(Errc code) {
  for (const auto& [known, name] : code_words)
    if (known == code) return name;
  return "unknown";
}

Latency operator-(const Latency& now, const Latency& before) {
  // Another daemon has begun since.
  if (now.count < before.count) return now;
  Latency out{now.stage, now.count - before.count, now.sum_seconds - before.sum_seconds, {}};
  for (Latency::Bucket bucket : now.buckets) {
    for (const auto& [below_us, count] : before.buckets)
      if (below_us == bucket.below_us) bucket.count -= std::min(count, bucket.count);
    if (bucket.count > 0) out.buckets.push_back(bucket);
  }
  return out;
}

std::uint64_t percentile_us(const Latency& latency, double share) {
  const double wanted = share * static_cast<double>(latency.count);
  std::uint64_t seen = 0, below = 0;
  for (const auto& bucket : latency.buckets) {
    if (static_cast<double>(seen) >= wanted && seen > 0) break;
    seen += bucket.count;
    below = bucket.below_us;
  }
  return below;
}

std::string to_json(const StatusReport& report) {
  const json::value out = {{"schema", status_schema},
                           {"version", report.version},
                           {"time", report.time},
                           {"node", report.node},
                           {"listener", or_null(report.listener)},
                           {"conditions", json::value_from(report.conditions)},
                           {"groups", json::value_from(report.groups)}};
  return json::serialize(out);
}

int weight(const Condition& condition) {
  return condition.severity == "error" ? 0 : condition.severity == "warning" ? 1 : 2;
}

Health health_of(const StatusReport& report, const std::vector<std::string>& groups) {
  Health out{report.node, report.time, "ok", {}};
  for (const Condition& condition : report.conditions) out.findings.push_back({{}, condition});
  for (const Group& group : report.groups) {
    if (!groups.empty() && std::find(groups.begin(), groups.end(), group.name) == groups.end())
      continue;
    for (const Condition& condition : group.conditions)
      out.findings.push_back({group.name, condition});
  }
  std::stable_sort(out.findings.begin(), out.findings.end(), [](const auto& a, const auto& b) {
    return weight(a.condition) < weight(b.condition);
  });
  if (!out.findings.empty() && weight(out.findings.front().condition) < 2)
    out.state = out.findings.front().condition.severity;
  return out;
}

std::string latency_json(const StatusReport& report) {
  json::array groups;
  for (const Group& group : report.groups) {
    json::array stages;
    for (const Latency& latency : group.latency) {
      json::object stage = json::value_from(latency).as_object();
      stage["p50_us"] = percentile_us(latency, 0.5);
      stage["p99_us"] = percentile_us(latency, 0.99);
      stage["p999_us"] = percentile_us(latency, 0.999);
      stages.push_back(std::move(stage));
    }
    groups.push_back({{"name", group.name}, {"uuid", group.uuid}, {"stages", std::move(stages)}});
  }
  return json::serialize(json::value{{"schema", latency_schema},
                                     {"node", report.node},
                                     {"time", report.time},
                                     {"groups", std::move(groups)}});
}

std::string to_json(const Health& health) {
  json::array conditions;
  for (const auto& [group, condition] : health.findings) {
    json::object one = json::value_from(condition).as_object();
    one["group"] = group;
    conditions.push_back(std::move(one));
  }
  return json::serialize(json::value{{"schema", health_schema},
                                     {"node", health.node},
                                     {"time", health.time},
                                     {"state", health.state},
                                     {"conditions", std::move(conditions)}});
}

namespace {

/// What `read` makes of an answer of this schema; the daemon's error, or our own.
template <class T, class Read>
Result<T> parse_answer(std::string_view text, std::string_view wanted, Read read) {
  try {
    const json::value parsed = json::parse(text);
    const json::object& object = parsed.as_object();
    const auto& schema = object.at("schema").as_string();
    if (schema == error_schema) return read_error(object);
    if (schema != wanted) return not_understood("another schema");
    return read(object);
  } catch (const std::exception& error) {
    return not_understood(error.what());
  }
}

}  // namespace

Result<StatusReport> parse_status(std::string_view text) {
  return parse_answer<StatusReport>(text, status_schema, read_status);
}

std::string to_json(const Verify& verify) {
  json::object out = json::value_from(verify).as_object();
  out["schema"] = verify_schema;
  return json::serialize(out);
}

std::string to_json(const Takeover& takeover) {
  json::object out = json::value_from(takeover).as_object();
  out["schema"] = takeover_schema;
  return json::serialize(out);
}

Result<Takeover> parse_takeover(std::string_view text) {
  return parse_answer<Takeover>(text, takeover_schema, [](const json::object& object) {
    return read_takeover(Fields(object));
  });
}

Result<Done> parse_outcome(std::string_view text) {
  return parse_answer<Done>(text, done_schema, [](const json::object& object) {
    Done out;
    if (const auto* lines = object.if_contains("lines"))
      for (const json::value& line : lines->as_array()) out.emplace_back(line.as_string());
    return out;
  });
}

std::string outcome_json(const Result<Done>& outcome) {
  if (!outcome) return error_json(outcome.error());
  return json::serialize(
      json::value{{"schema", done_schema}, {"lines", json::value_from(*outcome)}});
}

std::string error_json(const Error& error) {
  return json::serialize(json::value{
      {"schema", error_schema}, {"error", {{"code", word(error.code)}, {"message", error.text}}}});
}

bool accepts(const std::vector<std::string>& force, std::string_view word) {
  return std::find(force.begin(), force.end(), word) != force.end();
}

Result<Request> parse_request(std::string_view text) {
  boost::system::error_code ec;
  const json::value parsed = json::parse(text, ec);
  if (ec)
    return Error{Errc::invalid, fmt::format("a request must be a line of JSON: {}", ec.message())};
  const auto* object = parsed.if_object();
  const auto field = [&](std::string_view name) -> const json::string* {
    const auto* value = object == nullptr ? nullptr : object->if_contains(name);
    return value == nullptr ? nullptr : value->if_string();
  };
  const auto text_of = [&](std::string_view name) {
    const auto* value = field(name);
    return value == nullptr ? std::string() : std::string(*value);
  };
  if (field("command") == nullptr)
    return Error{Errc::invalid,
                 "a request needs a text field 'command', like {\"command\": \"status\"}"};
  const auto flag = [&](std::string_view name) {
    const auto* value = object->if_contains(name);
    return value != nullptr && value->is_bool() && value->get_bool();
  };
  // Whoever writes something else means something that would not happen.
  std::optional<Error> wrong;
  const auto number = [&](std::string_view name) -> std::uint64_t {
    const auto* value = object->if_contains(name);
    if (value == nullptr) return 0;
    boost::system::error_code bad;
    const auto bytes = value->to_number<std::uint64_t>(bad);
    if (bad) wrong = Error{Errc::invalid, fmt::format("'{}' is a number, not below 0", name)};
    return bytes;
  };
  Request out{text_of("command"), text_of("group"), text_of("volume"), flag("dry_run"),
              flag("newest")};
  out.repair = flag("repair");
  out.at_ns = number("at_ns");
  out.from_bytes = number("from_bytes");
  out.rate_bytes = number("rate_bytes");
  if (wrong) return *wrong;
  const auto* force = object->if_contains("force");
  if (force != nullptr && force->is_array())
    for (const json::value& word : force->get_array())
      if (word.is_string()) out.force.emplace_back(word.get_string());
  return out;
}

std::string request_json(const Request& request) {
  json::object out{{"command", request.command}};
  if (!request.group.empty()) out["group"] = request.group;
  if (!request.volume.empty()) out["volume"] = request.volume;
  if (request.dry_run) out["dry_run"] = true;
  if (request.newest) out["newest"] = true;
  if (request.repair) out["repair"] = true;
  if (request.at_ns > 0) out["at_ns"] = request.at_ns;
  if (request.from_bytes > 0) out["from_bytes"] = request.from_bytes;
  if (request.rate_bytes > 0) out["rate_bytes"] = request.rate_bytes;
  if (!request.force.empty()) out["force"] = json::value_from(request.force);
  return json::serialize(out);
}

}  // namespace cascade::api
