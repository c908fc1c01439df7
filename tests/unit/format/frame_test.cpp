// SPDX-License-Identifier: GPL-2.0-or-later
// Frames: there and back, and everything that makes one wrong. I4, I9.
#include "lib/format/frame.hpp"
#include "tests/unit/format/make_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cascade::test {
namespace {

using testing::HasSubstr;

std::span<const std::byte, 32> head_of(const Bytes& frame) {
  return std::span<const std::byte>(frame).first<32>();
}
std::span<const std::byte> body_of(const Bytes& frame) {
  return std::span<const std::byte>(frame).subspan(32);
}

Hello a_hello() {
  return {group, "p1", SessionKind::mirror, {{volume_a, 5, 9, false}, {volume_b, 0, 0, true}}};
}

TEST(Frame, HeaderHasTheseBytes) {
  const FrameHeader h =
      make_header(FrameType::data, 0x01020304, 0x11, 0x2122232425262728, 0x31323334);
  const unsigned char golden[28] = {'C',  'S',  'C',  'F',  2,    1,    3,    0,    4,    3,
                                    2,    1,    0x11, 0,    0,    0,    0x28, 0x27, 0x26, 0x25,
                                    0x24, 0x23, 0x22, 0x21, 0x34, 0x33, 0x32, 0x31};
  EXPECT_EQ(std::memcmp(&h, golden, sizeof golden), 0);
  EXPECT_EQ(le32toh(h.header_crc), crc32c(std::as_bytes(std::span(golden))));
}

TEST(Frame, HelloComesBackAsItWas) {
  const Bytes frame = encode_hello(a_hello(), 17);
  const auto header = check_header(head_of(frame));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->tally, 17u);
  const auto hello = decode_hello(*header, body_of(frame));
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->group, group);
  EXPECT_EQ(hello->node, "p1");
  ASSERT_EQ(hello->streams.size(), 2u);
  EXPECT_EQ(hello->streams[0].first, 5u);
  EXPECT_EQ(hello->streams[0].last, 9u);
  EXPECT_TRUE(hello->streams[1].fresh);
}

TEST(Frame, HelloOfVersionTwoZeroIsRead) {
  Hello hello = a_hello();
  hello.streams.resize(1);
  hello.streams[0].fence = CASCADE_FENCE_NEVER;
  hello.streams[0].parent = volume_b;
  Bytes frame = encode_hello(hello, 0);
  frame.resize(sizeof(FrameHeader) + sizeof(HelloBody) + hello_entry_bytes_min);
  auto* body = reinterpret_cast<HelloBody*>(frame.data() + sizeof(FrameHeader));
  body->entry_bytes = htole16(hello_entry_bytes_min);
  FrameHeader header = *check_header(head_of(encode_hello(hello, 0)));
  header.length = static_cast<std::uint32_t>(body_of(frame).size());
  header.body_crc = crc32c(body_of(frame));
  const auto read = decode_hello(header, body_of(frame));
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(read->streams[0].last, hello.streams[0].last);
  EXPECT_EQ(read->streams[0].parent, Uuid{});
}

TEST(Frame, HelloCarriesWhatIdentifiesAStream) {
  Hello hello{group, "h", SessionKind::ship, {{group, 5, 9}, {volume_a}}, volume_b};
  hello.streams[0].history = 0x0102030405060708;
  hello.streams[0].gap = true;
  hello.streams[1].leaving = true;
  hello.streams[1].block = 4096;
  hello.streams[1].bytes = 1 << 30;
  hello.streams[1].generation = volume_b;
  hello.streams[1].incarnation = group;
  hello.streams[1].hub_ack = 2;
  hello.streams[1].differs = 3;
  hello.streams[1].clean = true;
  hello.streams[1].end_seq = 77;
  hello.streams[1].journal = volume_a;
  const Bytes frame = encode_hello(hello, 0);
  const auto back = decode_hello(*check_header(head_of(frame)), body_of(frame));
  ASSERT_TRUE(back) << back.error().text;
  EXPECT_EQ(back->journal, volume_b);
  EXPECT_EQ(back->streams[0].history, 0x0102030405060708u);
  const auto& volume = back->streams[1];
  EXPECT_TRUE(back->streams[0].gap && !volume.gap);
  EXPECT_TRUE(volume.leaving && !volume.fresh);
  EXPECT_EQ(volume.block, 4096u);
  EXPECT_EQ(volume.bytes, 1u << 30);
  EXPECT_EQ(volume.generation, volume_b);
  EXPECT_EQ(volume.incarnation, group);
  EXPECT_EQ(volume.hub_ack, 2);
  EXPECT_EQ(volume.differs, 3);
  EXPECT_TRUE(volume.clean && !volume.numbered);
  EXPECT_EQ(volume.end_seq, 77u);
  EXPECT_EQ(volume.journal, volume_a);
}

/// A hello of a later minor version: changed head, `added` bytes more at head and entries.
Result<Hello> of_later_version(std::size_t added, void (*change)(HelloBody&)) {
  const Bytes frame = encode_hello(a_hello(), 0);
  const auto body = body_of(frame);
  HelloBody head;
  std::memcpy(&head, body.data(), sizeof head);
  head.head_bytes = htole16(static_cast<std::uint16_t>(sizeof head + added));
  head.entry_bytes = htole16(static_cast<std::uint16_t>(sizeof(HelloEntry) + added));
  change(head);
  Bytes longer(sizeof head);
  std::memcpy(longer.data(), &head, sizeof head);
  longer.resize(longer.size() + added, std::byte{0x5a});
  for (std::size_t at = sizeof head; at < body.size(); at += sizeof(HelloEntry)) {
    longer.insert(longer.end(), body.begin() + static_cast<std::ptrdiff_t>(at),
                  body.begin() + static_cast<std::ptrdiff_t>(at + sizeof(HelloEntry)));
    longer.resize(longer.size() + added, std::byte{0x5a});
  }
  FrameHeader h = make_header(FrameType::hello, static_cast<std::uint32_t>(longer.size()), 0, 0,
                              crc32c(longer));
  h.minor = 7;
  h.header_crc = htole32(crc32c(std::as_bytes(std::span(&h, 1)).first(28)));
  const auto checked = check_header(std::as_bytes(std::span<const FrameHeader, 1>(&h, 1)));
  if (!checked) return checked.error();
  return decode_hello(*checked, longer);
}

TEST(Frame, HelloOfALaterMinorVersionIsTakenAsFarAsItIsKnown) {
  const auto hello = of_later_version(24, [](HelloBody& h) {
    h.optional = ~0ull;
    h.reserved[3] = 9;
  });
  ASSERT_TRUE(hello) << hello.error().text;
  ASSERT_EQ(hello->streams.size(), 2u);
  EXPECT_EQ(hello->streams[1].uuid, volume_b);
  EXPECT_TRUE(hello->streams[1].fresh);
}

TEST(Frame, HelloThatRequiresWhatIsNotKnownIsRefusedByName) {
  const auto hello = of_later_version(0, [](HelloBody& h) { h.required = htole64(0x20); });
  ASSERT_FALSE(hello);
  EXPECT_EQ(hello.error().code, Errc::version);
  EXPECT_THAT(hello.error().text, HasSubstr("p1 requires capabilities 0x20"));
}

TEST(Frame, HelloWhoseSizesMakeNoSenseIsRefused) {
  EXPECT_FALSE(of_later_version(0, [](HelloBody& h) { h.head_bytes = htole16(127); }));
  EXPECT_FALSE(of_later_version(0, [](HelloBody& h) { h.entry_bytes = 0; }));
  EXPECT_FALSE(of_later_version(0, [](HelloBody& h) { h.entry_bytes = htole16(0xffff); }));
  EXPECT_FALSE(of_later_version(0, [](HelloBody& h) { h.entries = htole32(~0u); }));
  EXPECT_FALSE(of_later_version(0, [](HelloBody& h) { h.kind = htole32(4); }));
}

TEST(Frame, ReportComesBack) {
  const Bytes frame = encode_report({7, 1000, 999, Error{Errc::io, "EIO\n"}, true, false});
  const auto header = check_header(head_of(frame));
  ASSERT_TRUE(header);
  const auto report = decode_report(*header, body_of(frame));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->applied, 7u);
  EXPECT_EQ(report->journal_bytes, 1000u);
  EXPECT_EQ(report->journal_used, 999u);
  EXPECT_TRUE(report->full);
  EXPECT_FALSE(report->bracket);
  ASSERT_TRUE(report->failure);
  EXPECT_EQ(report->failure->code, Errc::io);
  EXPECT_EQ(report->failure->text, "EIO?");
  const Bytes well = encode_report({});
  EXPECT_FALSE(decode_report(*check_header(head_of(well)), body_of(well))->failure);
  EXPECT_FALSE(decode_report(*header, body_of(frame).first(255))) << "short";
}

TEST(Frame, AsksAndSumsComeBack) {
  const Ask first{volume_a, 1ull << 40, 4096}, second{volume_b, 0, 256 * 1024};
  const Bytes ask = encode_asks(std::vector{first, second}, 9);
  EXPECT_EQ(check_header(head_of(ask))->tally, 9u);
  const auto asks = decode_asks(*check_header(head_of(ask)), body_of(ask));
  ASSERT_TRUE(asks);
  EXPECT_THAT(*asks, testing::ElementsAre(first, second));
  const ContentSum sum{0x0102030405060708, 0x1112131415161718};
  const Bytes answer = encode_sums(std::vector{Sum{first, sum}, Sum{second}}, 0);
  EXPECT_EQ(static_cast<int>(body_of(answer)[32]), 8) << "little endian, the low half first";
  const auto sums = decode_sums(*check_header(head_of(answer)), body_of(answer));
  ASSERT_TRUE(sums);
  ASSERT_EQ(sums->size(), 2u);
  EXPECT_EQ((*sums)[0].of, first);
  EXPECT_EQ((*sums)[0].sum, sum);
  EXPECT_EQ((*sums)[1].of, second);
  EXPECT_FALSE((*sums)[1].sum);
}

TEST(Frame, RefusesPartsThatCannotBeCompared) {
  for (const Ask& bad :
       {Ask{volume_a, 0, 0}, Ask{volume_a, 0, 256 * 1024 + 1}, Ask{volume_a, ~0ull, 2}}) {
    const Bytes ask = encode_asks(std::span(&bad, 1), 0);
    EXPECT_FALSE(decode_asks(*check_header(head_of(ask)), body_of(ask))) << bad.begin;
    const Sum sum{bad};
    const Bytes answer = encode_sums(std::span(&sum, 1), 0);
    EXPECT_FALSE(decode_sums(*check_header(head_of(answer)), body_of(answer))) << bad.begin;
  }
  const Bytes none = encode_asks({}, 0);
  EXPECT_FALSE(decode_asks(*check_header(head_of(none)), body_of(none)));
  const Bytes many = encode_asks(std::vector<Ask>(limits::asks_max + 1, {volume_a, 0, 512}), 0);
  EXPECT_FALSE(check_header(head_of(many)));
}

TEST(Frame, WhatAComparisonFoundSurvivesTheWire) {
  Verified found{volume_a, "h", 11, 12, 13, 14, 15, {{4096, 8192}, {65536, 512}}};
  const Bytes frame = encode_verified(found, 7);
  EXPECT_EQ(check_header(head_of(frame))->tally, 7u);
  const auto back = decode_verified(*check_header(head_of(frame)), body_of(frame));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, found);
  Bytes cut = frame;
  cut.resize(cut.size() - 1);
  EXPECT_FALSE(decode_verified(*check_header(head_of(frame)), body_of(cut)));
  found.ranges.resize(limits::verified_ranges_max + 1);
  EXPECT_FALSE(check_header(head_of(encode_verified(found, 0))));
}

TEST(Frame, WelcomeSaysWhatItsSenderCanAndWants) {
  const auto all = {&Welcome::takes_packed, &Welcome::answers_asks, &Welcome::rejoins,
                    &Welcome::verifies};
  for (const auto said : all) {
    Welcome welcome{"r", {Answer{{group, 0, 0}}}};
    welcome.*said = true;
    const Bytes frame = encode_welcome(welcome);
    const auto back = decode_welcome(*check_header(head_of(frame)), body_of(frame));
    ASSERT_TRUE(back);
    for (const auto other : all) EXPECT_EQ((*back).*other, other == said);
  }
}

TEST(Frame, HelloSaysWhatItTakes) {
  Hello hello{group, "h", SessionKind::ship, {{group, 1, 5}}};
  for (const bool takes : {false, true}) {
    hello.takes_reports = takes;
    hello.takes_verified = !takes;
    const Bytes frame = encode_hello(hello, 0);
    const auto back = decode_hello(*check_header(head_of(frame)), body_of(frame));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->takes_reports, takes);
    EXPECT_EQ(back->takes_verified, !takes);
  }
}

TEST(Frame, WelcomeAcksAndRefusalComeBack) {
  const Error no{Errc::refused, "too\tsmall"};
  const Bytes welcome = encode_welcome(
      {"h", {Answer{{volume_a, 9, 8}, 77, {}}, Answer{{volume_b, 0, 0}, 0, no}}, group});
  auto header = check_header(head_of(welcome));
  ASSERT_TRUE(header);
  const auto w = decode_welcome(*header, body_of(welcome));
  ASSERT_TRUE(w);
  EXPECT_EQ(w->node, "h");
  EXPECT_EQ(w->journal, group);
  EXPECT_EQ(w->streams[0].ack.received, 9u);
  EXPECT_EQ(w->streams[0].ack.stored, 8u);
  EXPECT_FALSE(w->takes_packed) << "nothing was said of it";
  EXPECT_EQ(w->streams[0].history, 77u);
  EXPECT_FALSE(w->streams[0].refusal);
  ASSERT_TRUE(w->streams[1].refusal);
  EXPECT_EQ(w->streams[1].refusal->code, Errc::refused);
  EXPECT_EQ(w->streams[1].refusal->text, "too?small");

  Bytes frame;
  const Ack acks[] = {{volume_a, 3, 2}, {volume_b, 1, 1}};
  encode_acks(acks, 0, frame);
  header = check_header(head_of(frame));
  std::vector<Ack> out;
  ASSERT_TRUE(decode_acks(*header, body_of(frame), out));
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[1].stream, volume_b);

  const Bytes refusal = encode_refusal(Errc::refused, "no\x1b[2J");
  header = check_header(head_of(refusal));
  const Error error = decode_refusal(*header, body_of(refusal));
  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_EQ(error.text, "no?[2J") << "what a peer says must not steer a terminal";
}

struct WrongHeader {
  const char* says;
  FrameHeader header;
};

FrameHeader changed(void (*change)(FrameHeader&)) {
  FrameHeader h = make_header(FrameType::hello, 100, 0, 0, 0);
  change(h);
  h.header_crc = htole32(crc32c(std::as_bytes(std::span(&h, 1)).first(28)));
  return h;
}

TEST(Frame, WrongHeadersAreNamed) {
  FrameHeader flipped = make_header(FrameType::hello, 100, 0, 0, 0);
  flipped.length ^= 1;
  const WrongHeader table[] = {
      {"magic is", changed([](FrameHeader& h) { h.magic = 1; })},
      {"header checksum", flipped},
      {"version is 3.1, this program speaks 2.1", changed([](FrameHeader& h) { h.major = 3; })},
      {"type 0 is not known", changed([](FrameHeader& h) { h.type = 0; })},
      {"type 12 is not known", changed([](FrameHeader& h) { h.type = htole16(12); })},
      {"claims a body of 4294967295", changed([](FrameHeader& h) { h.length = ~0u; })},
      {"claims 1 records", changed([](FrameHeader& h) { h.records = htole32(1); })},
      {"claims 0 records", make_header(FrameType::data, 64, 0, 0, 0)},
      {"claims 1025 records", make_header(FrameType::data, 1 << 20, 1025, 0, 0)},
      {"cannot hold 2 records", make_header(FrameType::data, 127, 2, 0, 0)},
      {"claims a body of 1", make_header(FrameType::heartbeat, 1, 0, 0, 0)},
  };
  for (const WrongHeader& wrong : table) {
    const auto checked =
        check_header(std::as_bytes(std::span<const FrameHeader, 1>(&wrong.header, 1)));
    ASSERT_FALSE(checked) << wrong.says;
    EXPECT_THAT(checked.error().text, HasSubstr(wrong.says));
  }
}

TEST(Frame, DamagedBodiesAreFoundWhereverTheBitIs) {
  const Bytes frame = encode_hello(a_hello(), 0);
  const auto header = check_header(head_of(frame));
  for (std::size_t i = 32; i < frame.size(); ++i) {
    Bytes bad = frame;
    bad[i] ^= std::byte{0x10};
    EXPECT_FALSE(decode_hello(*header, body_of(bad))) << "byte " << i;
    EXPECT_FALSE(decode_hello(*header, body_of(frame).first(i - 32))) << "cut at " << i;
  }
}

/// A DATA body of these records and payloads, and its header.
std::pair<FrameHeader, std::vector<std::byte>> data_frame(const std::vector<Record>& records,
                                                          std::span<const std::byte> payload) {
  std::vector<std::byte> body(records.size() * sizeof(Record) + payload.size());
  std::memcpy(body.data(), records.data(), records.size() * sizeof(Record));
  if (!payload.empty())
    std::memcpy(body.data() + records.size() * sizeof(Record), payload.data(), payload.size());
  const FrameHeader h =
      make_header(FrameType::data, static_cast<std::uint32_t>(body.size()),
                  static_cast<std::uint32_t>(records.size()), 0,
                  crc32c(std::span<const std::byte>(body).first(records.size() * sizeof(Record))));
  return {*check_header(std::as_bytes(std::span<const FrameHeader, 1>(&h, 1))), std::move(body)};
}

TEST(Frame, DataIsTakenApartInPlace) {
  const auto one = pattern(512, 1), two = pattern(1024, 2);
  auto payload = one;
  payload.insert(payload.end(), two.begin(), two.end());
  const auto [header, body] =
      data_frame({make_record(1, one), make_record(2, {}, 0, volume_a, CASCADE_OP_DISCARD, 4096),
                  make_record(3, two)},
                 payload);
  const auto view = decode_data(header, body);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->records.size(), 3u);
  EXPECT_EQ(view->payload.data(), body.data() + 3 * 64);
}

TEST(Frame, DataThatDoesNotAddUpIsRefused) {
  const auto payload = pattern(512, 1);
  const std::vector<Record> records{make_record(1, payload)};
  auto flipped = payload;
  flipped[0] ^= std::byte{1};
  auto longer = pattern(1024, 1);
  const auto text = [](const auto& frame) {
    const auto view = decode_data(frame.first, frame.second);
    return view ? std::string("accepted") : view.error().text;
  };
  EXPECT_THAT(text(data_frame(records, flipped)), HasSubstr("does not match its checksum"));
  EXPECT_THAT(text(data_frame(records, std::span(payload).first(511))), HasSubstr("too short"));
  EXPECT_THAT(text(data_frame(records, longer)), HasSubstr("bytes stand behind the payloads"));
  auto broken = records;
  broken[0].sector ^= 1;
  EXPECT_THAT(text(data_frame(broken, payload)), HasSubstr("record checksum"));
}

}  // namespace
}  // namespace cascade::test
