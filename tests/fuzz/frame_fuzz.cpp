// SPDX-License-Identifier: GPL-2.0-or-later
// Bodies of frames of every type, with right checksums, so that what lies behind those is reached.
#include "lib/base/checksum.hpp"
#include "lib/format/frame.hpp"
#include "lib/format/pack.hpp"
#include "tests/fuzz/input.hpp"

namespace cascade::fuzz {
namespace {

void try_packed(const FrameHeader& header, std::span<const std::byte> body) {
  const auto bytes = Unpacker::bytes(header, body);
  if (!bytes) return;
  Unpacker unpacker;
  std::vector<std::byte> out(*bytes);
  const auto view = unpacker.unpack(header, body, out);
  require(!view || view->records.size() == header.records);
}

void try_body(FrameType type, std::span<const std::byte> body, std::uint32_t records) {
  const std::size_t covered =
      type == FrameType::data ? std::min(body.size(), records * sizeof(Record)) : body.size();
  const FrameHeader made = make_header(type, static_cast<std::uint32_t>(body.size()), records, 0,
                                       crc32c(body.first(covered)));
  const auto header = check_header(std::as_bytes(std::span<const FrameHeader, 1>(&made, 1)));
  if (!header) return;
  if (const auto hello = decode_hello(*header, body)) {
    require(!hello->streams.empty() && hello->streams.size() <= limits::session_streams_max);
    const Bytes again = encode_hello(*hello, 0);
    const auto second = check_header(std::span(again).first<sizeof(FrameHeader)>());
    require(second && decode_hello(*second, std::span(again).subspan(sizeof(FrameHeader))));
  }
  (void)decode_welcome(*header, body);
  if (type == FrameType::packed) try_packed(*header, body);
  std::vector<Ack> acks;
  (void)decode_acks(*header, body, acks);
  if (const auto asks = decode_asks(*header, body)) require(asks->size() <= limits::asks_max);
  if (const auto sums = decode_sums(*header, body)) require(sums->size() <= limits::asks_max);
  if (const auto found = decode_verified(*header, body))
    require(found->ranges.size() <= limits::verified_ranges_max);
  if (const auto report = decode_report(*header, body); report && report->failure)
    for (const char c : report->failure->text) require(c >= ' ' && c <= '~');
  for (const char c : decode_refusal(*header, body).text) require(c >= ' ' && c <= '~');
}

/// The same bytes as records with right checksums, and payload behind them.
void try_data(std::span<const std::byte> bytes, std::uint32_t records) {
  if (records == 0 || bytes.size() < records * sizeof(Record)) return;
  alignas(8) static thread_local std::byte body[65536];
  const std::size_t n = std::min(bytes.size(), sizeof body);
  std::memcpy(body, bytes.data(), n);
  auto* first = reinterpret_cast<Record*>(body);
  for (std::uint32_t i = 0; i < records && (i + 1) * sizeof(Record) <= n; ++i) {
    first[i].version = CASCADE_RECORD_VERSION;
    first[i].reserved = 0;
    seal(first[i]);
  }
  const std::span<const std::byte> all(body, n);
  const FrameHeader made = make_header(FrameType::data, static_cast<std::uint32_t>(n), records, 0,
                                       crc32c(all.first(records * sizeof(Record))));
  const auto header = check_header(std::as_bytes(std::span<const FrameHeader, 1>(&made, 1)));
  if (!header) return;
  const auto view = decode_data(*header, all);
  if (!view) return;
  std::size_t payload = 0;
  for (const Record& record : view->records) payload += payload_bytes_of(record);
  require(payload == view->payload.size());
}

}  // namespace
}  // namespace cascade::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cascade;
  fuzz::Input in(data, size);
  const auto type = static_cast<FrameType>(in.get<std::uint8_t>() % 9);
  const std::uint32_t records = in.get<std::uint8_t>() % 8;
  if (in.rest().size() >= sizeof(FrameHeader))
    (void)check_header(in.rest().first<sizeof(FrameHeader)>());
  fuzz::try_body(type, in.rest(),
                 type == FrameType::data || type == FrameType::packed ? records : 0);
  fuzz::try_data(in.rest(), records);
  return 0;
}
