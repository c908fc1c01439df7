// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/format/frame.hpp"

#include "lib/base/checksum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace cascade {
namespace {

// A group's volumes bound the streams of one session.
constexpr std::size_t streams_max = limits::session_streams_max;
// Room for what a later minor version may add to a head or an entry.
constexpr std::size_t added_max = 256;

Error corrupt(std::string what) { return Error{Errc::corrupt, "frame: " + std::move(what)}; }

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

template <class T>
void append(Bytes& out, const T& value) {
  const auto bytes = bytes_of(value);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

/// Takes a T off the front of `in`, which must hold one.
template <class T>
T take(std::span<const std::byte>& in) {
  T value;
  std::memcpy(&value, in.data(), sizeof value);
  in = in.subspan(sizeof value);
  return value;
}

void put_uuid(std::uint8_t (&out)[16], const Uuid& uuid) { std::memcpy(out, uuid.data, 16); }

Uuid get_uuid(const std::uint8_t (&in)[16]) {
  Uuid uuid;
  std::memcpy(uuid.data, in, 16);
  return uuid;
}

void put_name(char (&out)[32], const std::string& name) {
  std::memcpy(out, name.data(), std::min(name.size(), limits::node_name_max));
}

Result<std::string> get_name(const char (&in)[32]) {
  const std::size_t length = ::strnlen(in, sizeof in);
  if (length == 0 || length == sizeof in) return corrupt("a node name is empty or not terminated");
  const bool plain = std::all_of(in, in + length, [](char c) { return c > ' ' && c < 0x7f; });
  if (!plain) return corrupt("a node name has characters that no name has");
  return std::string(in, length);
}

/// A header for `body`, and the body, in one buffer.
Bytes frame_of(FrameType type, const Bytes& body, std::uint64_t tally) {
  const FrameHeader header =
      make_header(type, static_cast<std::uint32_t>(body.size()), 0, tally, crc32c(body));
  Bytes out;
  out.reserve(sizeof header + body.size());
  append(out, header);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Result<void> check_body(const FrameHeader& header, std::span<const std::byte> covered) {
  const std::uint32_t wanted = crc32c(covered);
  if (header.body_crc == wanted) return {};
  return corrupt(
      fmt::format("body checksum is {:#010x}, wanted {:#010x}", header.body_crc, wanted));
}

AckEntry ack_entry(const Ack& ack) {
  AckEntry entry{};
  put_uuid(entry.stream, ack.stream);
  entry.received = htole64(ack.received);
  entry.stored = htole64(ack.stored);
  return entry;
}

Result<void> check_ack(const Ack& ack) {
  if (ack.received < CASCADE_SEQ_MAX && ack.stored <= ack.received) return {};
  return corrupt(fmt::format("acknowledgement of {} received and {} stored makes no sense",
                             ack.received, ack.stored));
}

Result<Ack> get_ack(std::span<const std::byte>& in) {
  const auto entry = take<AckEntry>(in);
  Ack ack{get_uuid(entry.stream), le64toh(entry.received), le64toh(entry.stored)};
  if (auto ok = check_ack(ack); !ok) return ok.error();
  return ack;
}

/// The front of `in` as a T, which has `bytes` there: what is not known here is skipped, what the
/// sender did not know is zero.
template <class T>
T take_known(std::span<const std::byte>& in, std::size_t bytes) {
  T value{};
  std::memcpy(&value, in.data(), std::min(bytes, sizeof value));
  in = in.subspan(bytes);
  return value;
}

Result<void> check_shape(const char* what, std::size_t body, std::size_t entries,
                         std::size_t head_bytes, std::size_t head_known, std::size_t entry_bytes,
                         std::size_t entry_known) {
  if (head_bytes < head_known || entry_bytes < entry_known || head_bytes > head_known + added_max ||
      entry_bytes > entry_known + added_max)
    return corrupt(fmt::format("a {} has a head of {} and entries of {} bytes", what, head_bytes,
                               entry_bytes));
  if (entries == 0 || entries > streams_max || body != head_bytes + entries * entry_bytes)
    return corrupt(fmt::format("a {} names {} streams in {} bytes", what, entries, body));
  return {};
}

Result<void> check_required(const std::string& node, std::uint64_t required) {
  const std::uint64_t unknown = required & ~required_known;
  if (unknown == 0) return {};
  return Error{Errc::version, fmt::format("{} requires capabilities {:#x}, which this version does "
                                          "not know; upgrade the node that says this",
                                          node, unknown)};
}

Result<Hello::Stream> get_stream(std::span<const std::byte>& in, std::size_t bytes) {
  const auto entry = take_known<HelloEntry>(in, bytes);
  Hello::Stream stream;
  stream.uuid = get_uuid(entry.stream);
  stream.first = le64toh(entry.first);
  stream.last = le64toh(entry.last);
  stream.fresh = (le32toh(entry.flags) & hello_fresh) != 0;
  stream.leaving = (le32toh(entry.flags) & hello_leaving) != 0;
  stream.gap = (le32toh(entry.flags) & hello_gap) != 0;
  stream.promotion = (le32toh(entry.flags) & hello_promotion) != 0;
  stream.forced = (le32toh(entry.flags) & hello_forced) != 0;
  stream.withdrawn = (le32toh(entry.flags) & hello_withdrawn) != 0;
  stream.block = le32toh(entry.block);
  stream.bytes = le64toh(entry.bytes);
  stream.generation = get_uuid(entry.generation);
  stream.incarnation = get_uuid(entry.incarnation);
  stream.history = le64toh(entry.history);
  stream.hub_ack = entry.hub_ack;
  stream.differs = entry.differs;
  stream.clean = (le32toh(entry.flags) & hello_clean) != 0;
  stream.numbered = (le32toh(entry.flags) & hello_numbered) != 0;
  stream.end_seq = le64toh(entry.end_seq);
  stream.journal = get_uuid(entry.journal);
  stream.out_of_sync = le64toh(entry.out_of_sync);
  stream.fence = entry.fence;
  stream.parent = get_uuid(entry.parent);
  if (stream.last >= CASCADE_SEQ_MAX || stream.first > stream.last + 1)
    return corrupt(fmt::format("a hello offers {} to {}", stream.first, stream.last));
  return stream;
}

HelloEntry hello_entry(const Hello::Stream& stream) {
  HelloEntry entry{};
  put_uuid(entry.stream, stream.uuid);
  entry.first = htole64(stream.first);
  entry.last = htole64(stream.last);
  entry.flags =
      htole32((stream.fresh ? hello_fresh : 0) | (stream.leaving ? hello_leaving : 0) |
              (stream.clean ? hello_clean : 0) | (stream.numbered ? hello_numbered : 0) |
              (stream.gap ? hello_gap : 0) | (stream.promotion ? hello_promotion : 0) |
              (stream.forced ? hello_forced : 0) | (stream.withdrawn ? hello_withdrawn : 0));
  entry.block = htole32(stream.block);
  entry.bytes = htole64(stream.bytes);
  put_uuid(entry.generation, stream.generation);
  put_uuid(entry.incarnation, stream.incarnation);
  entry.history = htole64(stream.history);
  entry.hub_ack = stream.hub_ack;
  entry.differs = stream.differs;
  entry.end_seq = htole64(stream.end_seq);
  put_uuid(entry.journal, stream.journal);
  entry.out_of_sync = htole64(stream.out_of_sync);
  entry.fence = stream.fence;
  put_uuid(entry.parent, stream.parent);
  return entry;
}

std::string plain(std::string text) {
  // It goes to logs, terminals and JSON: nothing but plain characters.
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

/// Of an entry with a code, zero for none, and a reason.
template <class Entry>
std::optional<Error> get_error(const Entry& entry) {
  if (entry.code == 0) return std::nullopt;
  return Error{static_cast<Errc>(le32toh(entry.code)),
               plain({entry.reason, ::strnlen(entry.reason, sizeof entry.reason)})};
}

template <class Entry>
void put_error(Entry& entry, const std::optional<Error>& error) {
  if (!error) return;
  entry.code = htole32(static_cast<std::uint32_t>(error->code));
  std::memcpy(entry.reason, error->text.data(),
              std::min(error->text.size(), sizeof entry.reason - 1));
}

Result<Answer> get_answer(std::span<const std::byte>& in, std::size_t bytes) {
  const auto entry = take_known<AnswerEntry>(in, bytes);
  Answer answer;
  answer.ack = {get_uuid(entry.stream), le64toh(entry.received), le64toh(entry.stored)};
  answer.history = le64toh(entry.history);
  if (auto ok = check_ack(answer.ack); !ok) return ok.error();
  answer.detached = (le32toh(entry.flags) & answer_detached) != 0;
  answer.gap = (le32toh(entry.flags) & answer_gap) != 0;
  answer.refusal = get_error(entry);
  return answer;
}

AnswerEntry answer_entry(const Answer& answer) {
  AnswerEntry entry{};
  put_uuid(entry.stream, answer.ack.stream);
  entry.received = htole64(answer.ack.received);
  entry.stored = htole64(answer.ack.stored);
  entry.history = htole64(answer.history);
  entry.flags = htole32((answer.detached ? answer_detached : 0) | (answer.gap ? answer_gap : 0));
  put_error(entry, answer.refusal);
  return entry;
}

}  // namespace

std::size_t body_bytes_max(FrameType type) {
  switch (type) {
    case FrameType::hello:
      return sizeof(HelloBody) + added_max + streams_max * (sizeof(HelloEntry) + added_max);
    case FrameType::welcome:
      return sizeof(WelcomeBody) + added_max + streams_max * (sizeof(AnswerEntry) + added_max);
    case FrameType::data:
      return limits::frame_records_max * sizeof(Record) + limits::frame_payload_bytes_max;
    case FrameType::ack:
      return streams_max * sizeof(AckEntry);
    case FrameType::heartbeat:
      return 0;
    case FrameType::refuse:
      return sizeof(RefuseBody) + limits::refusal_text_max;
    case FrameType::report:
      return sizeof(ReportBody) + added_max;
    case FrameType::packed:
      return sizeof(PackedHead) + body_bytes_max(FrameType::data);
    case FrameType::ask:
      return limits::asks_max * sizeof(AskEntry);
    case FrameType::sums:
      return limits::asks_max * sizeof(SumEntry);
    case FrameType::verified:
      return sizeof(VerifiedBody) + limits::verified_ranges_max * sizeof(VerifiedRange);
  }
  return 0;
}

FrameHeader make_header(FrameType type, std::uint32_t length, std::uint32_t records,
                        std::uint64_t tally, std::uint32_t body_crc) {
  FrameHeader h{};
  h.magic = htole32(frame_magic);
  h.major = frame_major;
  h.minor = frame_minor;
  h.type = htole16(static_cast<std::uint16_t>(type));
  h.length = htole32(length);
  h.records = htole32(records);
  h.tally = htole64(tally);
  h.body_crc = htole32(body_crc);
  h.header_crc = htole32(crc32c(bytes_of(h).first(offsetof(FrameHeader, header_crc))));
  return h;
}

namespace {

Result<void> check_sizes(const FrameHeader& h) {
  const auto type = static_cast<FrameType>(h.type);
  if (h.type < 1 || h.type > static_cast<std::uint16_t>(FrameType::verified))
    return corrupt(fmt::format("type {} is not known", h.type));
  if (h.length > body_bytes_max(type))
    return corrupt(fmt::format("type {} claims a body of {} bytes, at most {} are allowed", h.type,
                               h.length, body_bytes_max(type)));
  const bool data = type == FrameType::data || type == FrameType::packed;
  if (data ? h.records == 0 || h.records > limits::frame_records_max : h.records != 0)
    return corrupt(fmt::format("type {} claims {} records", h.type, h.records));
  if (type == FrameType::data && h.length < h.records * sizeof(Record))
    return corrupt(fmt::format("{} bytes cannot hold {} records", h.length, h.records));
  return {};
}

}  // namespace

Result<FrameHeader> check_header(std::span<const std::byte, sizeof(FrameHeader)> bytes) {
  FrameHeader h;
  std::memcpy(&h, bytes.data(), sizeof h);
  if (le32toh(h.magic) != frame_magic)
    return corrupt(
        fmt::format("magic is {:#010x}, wanted {:#010x}; the peer does not speak this "
                    "protocol",
                    le32toh(h.magic), frame_magic));
  const std::uint32_t wanted = crc32c(bytes.first<offsetof(FrameHeader, header_crc)>());
  if (le32toh(h.header_crc) != wanted)
    return corrupt(
        fmt::format("header checksum is {:#010x}, wanted {:#010x}", le32toh(h.header_crc), wanted));
  if (h.major != frame_major)
    return Error{Errc::version, fmt::format("frame: version is {}.{}, this program speaks {}.{}",
                                            h.major, h.minor, frame_major, frame_minor)};
  h.magic = frame_magic;
  h.type = le16toh(h.type);
  h.length = le32toh(h.length);
  h.records = le32toh(h.records);
  h.tally = le64toh(h.tally);
  h.body_crc = le32toh(h.body_crc);
  h.header_crc = wanted;
  if (auto sizes = check_sizes(h); !sizes) return sizes.error();
  return h;
}

// ---- encoding

namespace {

std::uint64_t required_of(const Hello& hello) {
  if (hello.kind != SessionKind::ship) return 0;
  const bool gap = !hello.streams.empty() && hello.streams.front().gap;
  return capability_marks | (gap ? capability_gaps : 0);
}

}  // namespace

Bytes encode_hello(const Hello& hello, std::uint64_t tally) {
  Bytes body;
  HelloBody head{};
  put_uuid(head.group, hello.group);
  put_name(head.node, hello.node);
  head.kind = htole32(static_cast<std::uint32_t>(hello.kind));
  head.entries = htole32(static_cast<std::uint32_t>(hello.streams.size()));
  head.head_bytes = htole16(sizeof head);
  head.entry_bytes = htole16(sizeof(HelloEntry));
  head.required = htole64(required_of(hello));
  head.optional = htole64((hello.takes_reports ? optional_reports : 0) |
                          (hello.takes_verified ? optional_verify : 0));
  put_uuid(head.journal, hello.journal);
  append(body, head);
  for (const auto& stream : hello.streams) append(body, hello_entry(stream));
  return frame_of(FrameType::hello, body, tally);
}

Bytes encode_welcome(const Welcome& welcome) {
  Bytes body;
  WelcomeBody head{};
  put_name(head.node, welcome.node);
  head.entries = htole32(static_cast<std::uint32_t>(welcome.streams.size()));
  head.head_bytes = htole16(sizeof head);
  head.entry_bytes = htole16(sizeof(AnswerEntry));
  head.optional = htole64(
      (welcome.takes_packed ? optional_packed : 0) | (welcome.answers_asks ? optional_sums : 0) |
      (welcome.rejoins ? optional_rejoins : 0) | (welcome.verifies ? optional_verify : 0));
  put_uuid(head.journal, welcome.journal);
  head.lease_ms = htole32(static_cast<std::uint32_t>(welcome.lease.count()));
  append(body, head);
  for (const Answer& answer : welcome.streams) append(body, answer_entry(answer));
  return frame_of(FrameType::welcome, body, 0);
}

Bytes encode_heartbeat(std::uint64_t tally) { return frame_of(FrameType::heartbeat, {}, tally); }

Bytes encode_report(const Report& report) {
  ReportBody entry{};
  entry.applied = htole64(report.applied);
  entry.journal_bytes = htole64(report.journal_bytes);
  entry.journal_used = htole64(report.journal_used);
  entry.flags = htole32((report.full ? report_full : 0) | (report.bracket ? report_bracket : 0));
  put_error(entry, report.failure);
  Bytes body;
  append(body, entry);
  return frame_of(FrameType::report, body, 0);
}

Bytes encode_asks(std::span<const Ask> asks, std::uint64_t tally) {
  Bytes body;
  for (const Ask& ask : asks) {
    AskEntry entry{};
    put_uuid(entry.volume, ask.volume);
    entry.begin = htole64(ask.begin);
    entry.bytes = htole32(ask.bytes);
    append(body, entry);
  }
  return frame_of(FrameType::ask, body, tally);
}

Bytes encode_verified(const Verified& verified, std::uint64_t tally) {
  VerifiedBody head{};
  put_uuid(head.volume, verified.volume);
  put_name(head.node, verified.node);
  head.run = htole64(verified.run);
  head.through = htole64(verified.through);
  head.compared = htole64(verified.compared);
  head.skipped = htole64(verified.skipped);
  head.differing = htole64(verified.differing);
  head.ranges = htole32(static_cast<std::uint32_t>(verified.ranges.size()));
  Bytes body;
  append(body, head);
  for (const auto& range : verified.ranges)
    append(body, VerifiedRange{htole64(range.begin), htole64(range.bytes)});
  return frame_of(FrameType::verified, body, tally);
}

Bytes encode_sums(std::span<const Sum> sums, std::uint64_t tally) {
  Bytes body;
  for (const Sum& sum : sums) {
    SumEntry entry{};
    put_uuid(entry.volume, sum.of.volume);
    entry.begin = htole64(sum.of.begin);
    entry.bytes = htole32(sum.of.bytes);
    if (sum.sum) {
      const std::uint64_t halves[] = {htole64(sum.sum->low), htole64(sum.sum->high)};
      entry.flags = htole32(sum_known);
      std::memcpy(entry.sum, halves, sizeof halves);
    }
    append(body, entry);
  }
  return frame_of(FrameType::sums, body, tally);
}

Bytes encode_refusal(Errc code, std::string_view text) {
  Bytes body;
  append(body, RefuseBody{htole32(static_cast<std::uint32_t>(code)), 0});
  const auto bytes = std::as_bytes(std::span(text.substr(0, limits::refusal_text_max)));
  body.insert(body.end(), bytes.begin(), bytes.end());
  return frame_of(FrameType::refuse, body, 0);
}

void encode_acks(std::span<const Ack> acks, std::uint64_t tally, Bytes& out) {
  out.resize(sizeof(FrameHeader));
  for (const Ack& ack : acks) append(out, ack_entry(ack));
  const auto body = std::span<const std::byte>(out).subspan(sizeof(FrameHeader));
  const FrameHeader header =
      make_header(FrameType::ack, static_cast<std::uint32_t>(body.size()), 0, tally, crc32c(body));
  std::memcpy(out.data(), &header, sizeof header);
}

// ---- decoding

Result<Hello> decode_hello(const FrameHeader& header, std::span<const std::byte> body) {
  if (auto ok = check_body(header, body); !ok) return ok.error();
  if (body.size() < sizeof(HelloBody)) return corrupt("a hello is too short");
  const std::size_t size = body.size();
  auto peeked = body;
  const auto head = take<HelloBody>(peeked);
  const std::size_t entries = le32toh(head.entries);
  const std::size_t entry_bytes = le16toh(head.entry_bytes);
  if (auto ok = check_shape("hello", size, entries, le16toh(head.head_bytes), sizeof head,
                            entry_bytes, hello_entry_bytes_min);
      !ok)
    return ok.error();
  auto node = get_name(head.node);
  if (!node) return node.error();
  if (auto ok = check_required(*node, le64toh(head.required)); !ok) return ok.error();
  const std::uint32_t kind = le32toh(head.kind);
  if (kind < static_cast<std::uint32_t>(SessionKind::mirror) ||
      kind > static_cast<std::uint32_t>(SessionKind::petition))
    return corrupt(fmt::format("a hello is of kind {}, wanted 1 to 3", kind));
  Hello hello{
      get_uuid(head.group), *node, static_cast<SessionKind>(kind), {}, get_uuid(head.journal)};
  hello.takes_reports = (le64toh(head.optional) & optional_reports) != 0;
  hello.takes_verified = (le64toh(head.optional) & optional_verify) != 0;
  body = body.subspan(le16toh(head.head_bytes));
  while (!body.empty()) {
    auto stream = get_stream(body, entry_bytes);
    if (!stream) return stream.error();
    hello.streams.push_back(*stream);
  }
  return hello;
}

Result<Welcome> decode_welcome(const FrameHeader& header, std::span<const std::byte> body) {
  if (auto ok = check_body(header, body); !ok) return ok.error();
  if (body.size() < sizeof(WelcomeBody)) return corrupt("a welcome is too short");
  auto peeked = body;
  const auto head = take<WelcomeBody>(peeked);
  const std::size_t entry_bytes = le16toh(head.entry_bytes);
  if (auto ok = check_shape("welcome", body.size(), le32toh(head.entries), le16toh(head.head_bytes),
                            sizeof head, entry_bytes, sizeof(AnswerEntry));
      !ok)
    return ok.error();
  auto node = get_name(head.node);
  if (!node) return node.error();
  if (auto ok = check_required(*node, le64toh(head.required)); !ok) return ok.error();
  Welcome welcome{
      *node, {}, get_uuid(head.journal), std::chrono::milliseconds(le32toh(head.lease_ms))};
  welcome.takes_packed = (le64toh(head.optional) & optional_packed) != 0;
  welcome.answers_asks = (le64toh(head.optional) & optional_sums) != 0;
  welcome.rejoins = (le64toh(head.optional) & optional_rejoins) != 0;
  welcome.verifies = (le64toh(head.optional) & optional_verify) != 0;
  body = body.subspan(le16toh(head.head_bytes));
  while (!body.empty()) {
    auto answer = get_answer(body, entry_bytes);
    if (!answer) return answer.error();
    welcome.streams.push_back(std::move(*answer));
  }
  return welcome;
}

Result<Report> decode_report(const FrameHeader& header, std::span<const std::byte> body) {
  if (auto ok = check_body(header, body); !ok) return ok.error();
  if (body.size() < sizeof(ReportBody)) return corrupt("a report is too short");
  const auto entry = take<ReportBody>(body);
  Report report{le64toh(entry.applied), le64toh(entry.journal_bytes), le64toh(entry.journal_used)};
  report.full = (le32toh(entry.flags) & report_full) != 0;
  report.bracket = (le32toh(entry.flags) & report_bracket) != 0;
  report.failure = get_error(entry);
  return report;
}

Result<void> decode_acks(const FrameHeader& header, std::span<const std::byte> body,
                         std::vector<Ack>& out) {
  out.clear();
  if (auto ok = check_body(header, body); !ok) return ok.error();
  if (body.size() % sizeof(AckEntry) != 0)
    return corrupt(fmt::format("{} bytes are no whole acknowledgements", body.size()));
  while (!body.empty()) {
    auto ack = get_ack(body);
    if (!ack) return ack.error();
    out.push_back(*ack);
  }
  return {};
}

namespace {

/// The part of a volume that an AskEntry or SumEntry names.
template <class Entry>
Result<Ask> get_part(const Entry& entry) {
  const Ask part{get_uuid(entry.volume), le64toh(entry.begin), le32toh(entry.bytes)};
  if (part.bytes > 0 && part.bytes <= limits::record_payload_bytes_max &&
      part.begin <= std::numeric_limits<std::uint64_t>::max() - part.bytes)
    return part;
  return corrupt(fmt::format("{} bytes at {} can't be compared", part.bytes, part.begin));
}

Result<Sum> get_sum(std::span<const std::byte>& in) {
  const auto entry = take<SumEntry>(in);
  auto part = get_part(entry);
  if (!part) return part.error();
  Sum sum{*part};
  if ((le32toh(entry.flags) & sum_known) != 0) {
    std::uint64_t halves[2];
    std::memcpy(halves, entry.sum, sizeof halves);
    sum.sum = ContentSum{le64toh(halves[0]), le64toh(halves[1])};
  }
  return sum;
}

Result<Ask> get_ask(std::span<const std::byte>& in) { return get_part(take<AskEntry>(in)); }

/// All entries of a body, one at least, as `get` takes each off its front.
template <class Entry, class T>
Result<std::vector<T>> decode_parts(const FrameHeader& header, std::span<const std::byte> body,
                                    Result<T> (*get)(std::span<const std::byte>&)) {
  if (auto ok = check_body(header, body); !ok) return ok.error();
  if (body.empty() || body.size() % sizeof(Entry) != 0)
    return corrupt(fmt::format("{} bytes are no entries of {}", body.size(), sizeof(Entry)));
  std::vector<T> parts;
  while (!body.empty()) {
    auto part = get(body);
    if (!part) return part.error();
    parts.push_back(*part);
  }
  return parts;
}

}  // namespace

Result<std::vector<Ask>> decode_asks(const FrameHeader& header, std::span<const std::byte> body) {
  return decode_parts<AskEntry>(header, body, get_ask);
}

Result<std::vector<Sum>> decode_sums(const FrameHeader& header, std::span<const std::byte> body) {
  return decode_parts<SumEntry>(header, body, get_sum);
}

Result<Verified> decode_verified(const FrameHeader& header, std::span<const std::byte> body) {
  if (auto ok = check_body(header, body); !ok) return ok.error();
  if (body.size() < sizeof(VerifiedBody)) return corrupt("what a comparison found is too short");
  const auto head = take<VerifiedBody>(body);
  const std::size_t ranges = le32toh(head.ranges);
  if (ranges > limits::verified_ranges_max || body.size() != ranges * sizeof(VerifiedRange))
    return corrupt(fmt::format("{} ranges that differ in {} bytes", ranges, body.size()));
  auto node = get_name(head.node);
  if (!node) return node.error();
  Verified verified{
      get_uuid(head.volume),  std::move(*node),      le64toh(head.run),       le64toh(head.through),
      le64toh(head.compared), le64toh(head.skipped), le64toh(head.differing), {}};
  while (!body.empty()) {
    const auto range = take<VerifiedRange>(body);
    verified.ranges.push_back({le64toh(range.begin), le64toh(range.bytes)});
  }
  return verified;
}

Error decode_refusal(const FrameHeader& header, std::span<const std::byte> body) {
  if (auto ok = check_body(header, body); !ok) return ok.error();
  if (body.size() < sizeof(RefuseBody)) return corrupt("a refusal is too short");
  const auto head = take<RefuseBody>(body);
  return Error{static_cast<Errc>(le32toh(head.code)),
               plain({reinterpret_cast<const char*>(body.data()), body.size()})};
}

Result<DataView> decode_data(const FrameHeader& header, std::span<const std::byte> body) {
  const std::size_t records_bytes = header.records * sizeof(Record);
  if (body.size() < records_bytes) return corrupt("data is too short for its records");
  if (auto ok = check_body(header, body.first(records_bytes)); !ok) return ok.error();
  DataView view{{reinterpret_cast<const Record*>(body.data()), header.records},
                body.subspan(records_bytes)};
  auto rest = view.payload;
  for (const Record& record : view.records) {
    if (auto ok = check_record(record); !ok) return ok.error();
    const std::size_t bytes = payload_bytes_of(record);
    if (bytes > rest.size()) return corrupt("data is too short for its payloads");
    if (!payload_matches(record, rest.first(bytes)))
      return corrupt(fmt::format("the payload of write {} does not match its checksum",
                                 volume_seq_of(record)));
    rest = rest.subspan(bytes);
  }
  if (!rest.empty()) return corrupt(fmt::format("{} bytes stand behind the payloads", rest.size()));
  return view;
}

}  // namespace cascade
