// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/frame_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace cascade {
namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;

}  // namespace

FrameReader::FrameReader(Stream& stream, SilenceWatch* watch)
    : stream_(stream), watch_(watch), buffer_(buffer_bytes) {}

std::size_t FrameReader::take_buffered(std::span<std::byte> out) {
  const std::size_t n = std::min(out.size(), end_ - begin_);
  std::memcpy(out.data(), buffer_.data() + begin_, n);
  begin_ += n;
  return n;
}

Task<Result<void>> FrameReader::body(std::span<std::byte> out) {
  out = out.subspan(take_buffered(out));
  while (!out.empty()) {
    const bool direct = out.size() >= buffer_.size();
    auto n = co_await stream_.read_some(direct ? out : std::span(buffer_));
    if (!n) co_return n.error();
    if (watch_ != nullptr) watch_->heard();
    if (direct) {
      out = out.subspan(*n);
      continue;
    }
    begin_ = 0;
    end_ = *n;
    out = out.subspan(take_buffered(out));
  }
  co_return Result<void>{};
}

Task<Result<FrameHeader>> FrameReader::header() {
  std::array<std::byte, sizeof(FrameHeader)> bytes;
  if (auto got = co_await body(bytes); !got) co_return got.error();
  co_return check_header(bytes);
}

Task<Result<Welcome>> read_welcome(FrameReader& reader, Bytes& body, const std::string& node,
                                   const std::string& address) {
  auto header = co_await reader.header();
  if (!header) co_return header.error();
  body.resize(header->length);
  if (auto got = co_await reader.body(body); !got) co_return got.error();
  const auto type = static_cast<FrameType>(header->type);
  if (type == FrameType::refuse) co_return decode_refusal(*header, body);
  if (type != FrameType::welcome)
    co_return Error{Errc::invalid,
                    fmt::format("a frame of type {} answers our hello", header->type)};
  auto welcome = decode_welcome(*header, body);
  if (welcome && welcome->node != node)
    co_return Error{Errc::refused, fmt::format("{} answers as node {}; compare the configuration "
                                               "files",
                                               address, welcome->node)};
  co_return welcome;
}

}  // namespace cascade
