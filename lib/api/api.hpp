// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the daemon answers on its control socket, as values, and their JSON form.
//
// Control socket: AF_UNIX stream, one JSON object a line each way.
//   request  {"command": "status"}
//   answer   {"schema": "dmcascade.status/1", ...}                                (StatusReport)
//   request  {"command": "bracket-end", "group": NAME, "volume": NAME}
//   request  {"command": "bracket-apply", "group": NAME}
//   request  {"command": "remote-replace", "group": NAME}
//   request  {"command": "drill-begin", "group": NAME, "at_ns": TIME}: the copies are held
//             (Group::drill), as of that time, or now
//   request  {"command": "drill-end", "group": NAME}: the same, as they are
//   request  {"command": "drill-go-on", "group": NAME}: they were held until now, and go on
//   request  {"command": "reload", "dry_run": true|false}
//   answer   {"schema": "dmcascade.done/1", "lines": ["what was done", ...]}
//   request  {"command": "promote", "group": NAME, "newest": true|false, "at_ns": TIME,
//             "force": [REASON, ...], "dry_run": true|false}
//   answer   {"schema": "dmcascade.takeover/1", ...}                                  (Takeover)
//   error    {"schema": "dmcascade.error/1", "error": {"code": "...", "message": "..."}}
// Guarantee within /1: fields are only added, none changes type, all are always present (null if
// unknown), numbers are numbers, sizes are bytes, times RFC 3339 UTC, durations seconds.
#pragma once

#include "lib/base/result.hpp"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cascade::api {

inline constexpr std::string_view status_schema = "dmcascade.status/1";
inline constexpr std::string_view health_schema = "dmcascade.health/1";
inline constexpr std::string_view latency_schema = "dmcascade.latency/1";
inline constexpr std::string_view error_schema = "dmcascade.error/1";
inline constexpr std::string_view takeover_schema = "dmcascade.takeover/1";
inline constexpr std::string_view verify_schema = "dmcascade.verify/1";
inline constexpr std::string_view done_schema = "dmcascade.done/1";

inline constexpr std::string_view command_status = "status";
inline constexpr std::string_view command_reload = "reload";
inline constexpr std::string_view command_bracket_end = "bracket-end";
inline constexpr std::string_view command_bracket_apply = "bracket-apply";
inline constexpr std::string_view command_promote = "promote";
inline constexpr std::string_view command_rejoin = "rejoin";
inline constexpr std::string_view command_swap = "swap";
inline constexpr std::string_view command_drill_begin = "drill-begin";
inline constexpr std::string_view command_drill_end = "drill-end";
inline constexpr std::string_view command_drill_go_on = "drill-go-on";
inline constexpr std::string_view command_verify_begin = "verify-begin";
inline constexpr std::string_view command_verify_end = "verify-end";
/// Of Request::force, for verify-begin.
inline constexpr std::string_view force_primary_is_right = "primary-is-right";
inline constexpr std::string_view command_remote_replace = "remote-replace";

/// One session with another node.
struct Link {
  std::string peer;
  std::string direction;  // "upstream" (we receive) | "downstream" (we send)
  std::string state;      // "connected" | "connecting" | "down" (an upstream node is not there)
  std::string reason;     // why it is not connected, one line; empty when connected
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t sessions = 0;  // sessions that were established since the group was started
  std::string
      loss{};  // downstream: what the network does to what we send, one line; empty: nothing
  std::uint64_t unpacked_bytes = 0;  // downstream: of data, what was sent if it were not compressed
  std::string congestion{};  // downstream: why not by the wanted congestion control, one line
  std::string compress{};    // downstream: "none" | "lz4" | "zstd", as configured
};

/// The ring of a volume; on its primary only.
struct Ring {
  std::string daemon;  // "attached" | "absent" | "revoked"; this daemon's own view
  std::uint64_t published = 0;
  std::uint64_t received = 0;
  std::uint64_t stored = 0;
  std::uint64_t released = 0;
};

/// What comparing a volume with its copies has found (`dmcascade verify`).
struct Verify {
  struct Range {
    std::uint64_t begin_bytes = 0;
    std::uint64_t bytes = 0;
  };
  struct Copy {
    std::string node;
    std::string since;  // RFC 3339 UTC: by that node's clock
    std::uint64_t compared_bytes = 0;
    std::uint64_t skipped_bytes = 0;  // the copy was no image of one moment when it was their turn
    std::uint64_t differing_bytes = 0;
    std::vector<Range> ranges{};  // that differ; the first of them, if they are many
    std::uint64_t repaired_bytes =
        0;  // primary: differed before, and are the same since the repair
  };
  // Primary: "running" | "repairing" (what differed is written to the copies) | "waiting" (a copy
  // has not come to the end of that yet) | "done" | "stopped". Hub, remote: "copy": see `copies`
  std::string state;
  std::string since{};  // primary: RFC 3339 UTC; else empty
  // Primary: where it began, and how far it has read.
  std::uint64_t from_bytes = 0;
  std::uint64_t next_bytes = 0;
  std::uint64_t out_of_sync_bytes = 0;  // primary: of that, left to the resync
  std::uint64_t unreadable_bytes = 0;   // primary: of that, its own disk does not give it
  // Primary: differ on all copies, of several; its own disk may be the wrong one, so a repair
  // leaves them out unless it is told force_primary_is_right.
  std::uint64_t doubtful_bytes = 0;
  std::vector<Copy> copies{};  // this node's own; primary: of all that have said something
};

struct Volume {
  std::string name;
  std::string uuid;
  std::string primary;  // node name
  std::string role;     // of this node: "primary" | "hub" | "remote"
  std::string state;    // "replicating" | "waiting" (no session) | "refused" (by the hub) |
                        // "not-created" (no target) | "leaving" (nor does the hub know) | "alone"
                        // (without the hub) | "behind" (left out of the group) | "failed" |
                        // "promoting" | "promoted" (the copy is a device that anybody may write)
  std::string reason;   // why not replicating, and what to do; empty otherwise
  std::uint64_t size_bytes = 0;
  std::optional<Ring> ring;
  // Hub: volume_seq taken into the journal, and stable in it. Null on other nodes.
  std::optional<std::uint64_t> received_seq;
  std::optional<std::uint64_t> stored_seq;
  std::string generation;  // which history of the volume, as a UUID; empty: not known here
  std::string differs;  // why the primary and the hub's copy may differ, in words; empty otherwise
  std::uint64_t local_errors = 0;   // primary: local writes that failed, since the area was made
  bool local_write_failed = false;  // primary: and what one of them left is not mended yet
  // Primary: what has to be copied to the hub, in whole regions. Null on others, and without a
  // ring.
  std::optional<std::uint64_t> out_of_sync_bytes = {};
  std::optional<std::uint64_t> resynced_bytes = {};  // read to be copied, since the ring began
  // Compared, and the hub had them; since the daemon is attached.
  std::optional<std::uint64_t> same_bytes = {};
  std::optional<double> resync_seconds_left = {};  // primary: by how fast it goes; null: not known
  std::string fence_level = {};  // primary: "data" | "never" | "status" | "witness", as it is now;
                                 // else empty
  std::string alone_since = {};  // primary: RFC 3339 UTC; empty: it does not go on alone
  // What is left of the lease. Primary: 0 once it has run out. Hub: as long as it holds. Null:
  // none.
  std::optional<double> lease_seconds = {};
  std::optional<Verify> verify = {};  // null: nothing was compared since the daemon began
};

/// The journal of a group; on hub and remote.
struct Journal {
  std::string path;
  std::string state;  // "opening" | "ok" | "failed"
  std::string reason;
  std::string failure{};  // of which kind, a word of word(Errc); empty: none
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
  std::uint64_t received_seq = 0;    // last group_seq in memory
  std::uint64_t stored_seq = 0;      // on stable storage
  std::uint64_t applied_seq = 0;     // in the copies (not necessarily flushed)
  std::uint64_t checkpoint_seq = 0;  // in the copies, flushed, and in the superblock
  // When this node took in what applied_seq is, RFC 3339 UTC; empty: not known.
  std::string applied_time{};
  std::optional<double> apply_delay_seconds{};  // remote: as configured; null: none
  bool apply_delay_short = false;  // the journal has no room for that: they are applied sooner
  bool consistent = false;  // the copies are an image of one moment, not on the way to the next one
  std::string
      copies_reason{};  // why the copies of this node stand still, one line; empty: they don't
  std::string copies_failure{};  // of which kind, as `failure`
  std::string
      ship_reason{};  // hub: why it does not give what the remote lacks next; empty: it does
  std::string ship_failure{};  // of which kind, as `failure`
};

/// An open bracket: the copies stand still, at hub and remote, until every volume is here again.
struct Bracket {
  struct Waiting {
    std::string volume;     // name, or UUID if it is not configured any more
    std::string why;        // "resend" | "alone" | "resync"
    std::string since;      // RFC 3339 UTC, by the hub's clock
    std::string waits_for;  // in words
  };
  std::uint64_t applied_through = 0;  // group_seq of the last write that the copies may have
  std::uint64_t held_writes = 0;      // stored in this node's journal behind that
  std::vector<Waiting> volumes;
  bool catching_up = false;  // what this node was not sent is being copied from the hub
  // Whether the copies had to go past it: "no" | "undo" (what they held there is kept) | "gone"
  std::string past = "no";
  std::string undo_path{};  // the device for that; empty: none
  std::uint64_t undo_used_bytes = 0;
  std::uint64_t undo_size_bytes = 0;
  bool undo_full = false;  // it has no room for what comes next
};

/// How far the remote is behind, as the hub sees it; on the hub of a group with a remote.
struct RemoteLag {
  std::uint64_t received_seq = 0;  // the remote says
  std::uint64_t stored_seq = 0;
  std::uint64_t backlog_writes = 0;  // group_seq received here and not acknowledged there
  std::uint64_t backlog_bytes = 0;   // payload of those
  double lag_seconds = 0;            // age of the oldest of those; 0 when there is none
  // RFC 3339 UTC: it lacks writes from then on that the journal does not hold any more, and copies
  // of their regions are made instead; empty: it does not
  std::string behind_since{};
  std::uint64_t out_of_sync_bytes = 0;  // of the hub's copies, still to be copied, at most
  std::uint64_t same_bytes = 0;  // compared since it fell behind or the daemon began: it had them
  std::optional<double> seconds_left{};  // until that is done; null: not known
  std::string reason{};  // why it can neither fall behind nor catch up; empty: it can
  // As the remote last said; null: it has not, since this daemon began.
  std::optional<std::uint64_t> applied_seq{};  // group_seq through which its copies hold everything
  std::optional<std::uint64_t> journal_used_bytes{};
  std::optional<std::uint64_t> journal_size_bytes{};
  bool bracket = false;         // one is open there
  bool journal_full = false;    // it has no room for what comes next
  std::string copies_reason{};  // why its copies stand still, one line; empty: they don't
  // Bytes that may be sent to it in a second now, by `ship-rate`; null: no limit.
  std::optional<std::uint64_t> ship_rate_bytes{};
  bool replacing = false;  // another one is to get everything, which is not on this node's disk yet
};

/// Something that is wrong or unusual, for as long as it is.
struct Condition {
  std::string code;      // stable: JOURNAL_FULL, ...; daemon/conditions.cpp has all of them
  std::string severity;  // "error" (replication stands) | "warning" (it is endangered) | "info"
  std::string subject;   // a volume, a peer, "journal", "listener"; empty: the group
  std::string since;     // RFC 3339 UTC: when this daemon saw it first
  std::string reason;    // one line
  std::string action;    // what to do; empty: nothing, it passes by itself
  std::string impact{};  // what it means for the data and for those who write; one line
};

/// Which is worse: 0 an error, 1 a warning, 2 anything else.
int weight(const Condition& condition);

/// How long writes take in one stage of their way, since the daemon began.
struct Latency {
  struct Bucket {
    std::uint64_t below_us;  // what took less than this, and not less than the bucket before it
    std::uint64_t count;
  };
  std::string stage;            // "ring", "send", ...; daemon/group_status.cpp has all of them
  std::uint64_t count = 0;      // writes
  double sum_seconds = 0;       // of what they took
  std::vector<Bucket> buckets;  // those in which there are any, the shortest first
};

/// What came between two reports of a stage.
Latency operator-(const Latency& now, const Latency& before);
/// So many us, of 0 to 1, of the writes took at most; 0 if there are none.
std::uint64_t percentile_us(const Latency& latency, double share);

/// Promotion of this node: what it would mean, or what has become of it.
struct Takeover {
  /// What is not proven to be right. It has to be accepted by its word before anything happens.
  struct Doubt {
    std::string force;    // "may-lack-writes" | "still-connected" | "not-consistent"
    std::string subject;  // a volume, or a peer; empty: the group
    std::string text;     // one line
  };
  struct Copy {
    std::string volume;
    std::string path;  // the device on this node
  };
  std::string group;
  std::string node;
  std::string state;       // "follows" (not promoted) | "promoting" (the copies are on the way) |
                           // "promoted"
  std::string generation;  // UUID, of every volume from then on; empty while it follows
  std::string since;       // RFC 3339 UTC: when it was decided; empty while it follows
  bool newest = false;     // every volume's newest write, instead of an image of one moment
  std::string at;  // RFC 3339 UTC: what this node took in after that stays out; empty: nothing
  // group_seq that the copies are handed over as of; with `at`, until they are, the last it may be.
  std::uint64_t through_seq = 0;
  std::uint64_t left_writes = 0;    // still to be applied before that
  std::uint64_t beyond_writes = 0;  // in the journal behind that: they stay out
  bool lossless = false;  // proven: no write that anybody acknowledged is missing. Only while it
                          // follows
  std::vector<Doubt> doubts{};  // only while it follows
  std::vector<Copy> copies{};
};

/// A drill on this node: an image of the group, while the copies go on.
struct Drill {
  struct Image {
    std::string volume;
    std::string path;  // the device; empty: it is not there any more, and the rest is to be removed
    std::uint64_t used_bytes = 0;  // of the space for what has changed since, in copy or image
    std::uint64_t space_bytes = 0;
    bool broken = false;  // the space ran out, or failed: the image gives errors
  };
  std::string state;            // "waiting" (the copies are on the way to a whole point) | "held"
                                // (they stand still for it to begin or end) | "running"
  std::string since;            // RFC 3339 UTC: the moment that the images show; empty: none yet
  std::uint64_t as_of_seq = 0;  // held: where the copies are; running: group_seq through which the
                                // images have everything
  std::vector<Image> images{};
};

struct Group {
  std::string name;
  std::string uuid;
  std::vector<std::string> roles;  // of this node: any of "primary", "hub", "remote"
  std::string send_order, hub_ack, ship, remote_ack, on_journal_full;  // as in the configuration
  std::vector<Link> links;
  std::vector<Volume> volumes;
  std::optional<Journal> journal;
  std::optional<RemoteLag> remote;
  std::optional<Bracket> bracket;     // hub and remote; null: none is open
  std::optional<Takeover> takeover;   // hub and remote; null: it follows
  std::optional<Drill> drill;         // hub and remote; null: none
  std::vector<Condition> conditions;  // the worst first
  std::vector<Latency> latency{};     // of the stages that are on this node
};

/// Where other nodes come in; on a node that is hub or remote of a group.
struct Listener {
  std::string address;    // as configured
  std::string state;      // "listening" | "starting" | "down"
  std::string reason;     // why it is down, or can't take anybody in now; one line
  bool loopback = false;  // it is reached from this machine only, and others have to reach it
};

struct StatusReport {
  std::string version;  // of the daemon
  std::string time;     // RFC 3339 UTC, milliseconds
  std::string node;
  std::optional<Listener> listener;
  std::vector<Condition> conditions;  // of the node; those of a group are there
  std::vector<Group> groups;
};

std::string to_json(const StatusReport& report);
Result<StatusReport> parse_status(std::string_view json);

/// The stages of its groups alone, with percentiles.
std::string latency_json(const StatusReport& report);

std::string to_json(const Verify& verify);

std::string to_json(const Takeover& takeover);
Result<Takeover> parse_takeover(std::string_view json);

/// What is wrong with a node and its groups, in one word and one list.
struct Health {
  struct Finding {
    std::string group;  // empty: the node itself
    Condition condition;
  };
  std::string node;
  std::string time;               // RFC 3339 UTC, milliseconds
  std::string state;              // "ok" (or nothing above "info") | "warning" | "error"
  std::vector<Finding> findings;  // the worst first
};

/// Of the node and of `groups`; empty: of all.
Health health_of(const StatusReport& report, const std::vector<std::string>& groups = {});
std::string to_json(const Health& health);

std::string error_json(const Error& error);

/// What a client asks for; fields that a command does not take are empty.
struct Request {
  std::string command;
  std::string group = {};
  std::string volume = {};
  bool dry_run = false;
  bool newest = false;
  std::vector<std::string> force = {};
  std::uint64_t at_ns = 0;  // CLOCK_REALTIME; 0: now
  std::uint64_t from_bytes = 0;
  std::uint64_t rate_bytes = 0;  // a second
  bool repair = false;
};
/// That a node's own writes which nobody else has are dropped: the word for it in Request::force.
constexpr const char* give_up_writes = "give-up-writes";
/// Whether what an administrator accepts has this word.
bool accepts(const std::vector<std::string>& force, std::string_view word);
/// A request line. Errc::invalid with what is wrong with it.
Result<Request> parse_request(std::string_view json);
std::string request_json(const Request& request);

/// The answer to a command that is done or not: a line for each thing that it did, if it says so.
/// An answer that can't be understood is an error.
using Done = std::vector<std::string>;
std::string outcome_json(const Result<Done>& outcome);
Result<Done> parse_outcome(std::string_view json);

/// "invalid", "corrupt", ...: the word for an Errc in JSON and in logs.
std::string_view word(Errc code);

}  // namespace cascade::api
