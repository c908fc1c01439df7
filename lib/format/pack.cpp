// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/format/pack.hpp"

#include "lib/base/checksum.hpp"

#include <fmt/format.h>
#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

namespace cascade {
namespace {

// What is not worth it is tried again after 1, 2, 4 ... frames.
constexpr unsigned skip_max = 64;

// What zstd itself takes for the usual one.
constexpr int zstd_level = ZSTD_CLEVEL_DEFAULT;

Error bad_pack(std::string what) { return Error{Errc::corrupt, "frame: " + std::move(what)}; }

PackedHead head_of(std::span<const std::byte> body) {
  PackedHead head;
  std::memcpy(&head, body.data(), sizeof head);
  return head;
}

}  // namespace

struct Packer::Zstd {
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> context{ZSTD_createCCtx()};
};

Packer::Packer(Codec codec) : codec_(codec) {
  if (codec == Codec::zstd) zstd_ = std::make_unique<Zstd>();
}

Packer::~Packer() = default;

bool Packer::worth_trying() {
  if (skipped_ >= skip_) return true;
  ++skipped_;
  return false;
}

std::span<const std::byte> Packer::pack(std::span<const std::span<const std::byte>> parts) {
  whole_.clear();
  for (const auto& part : parts) whole_.insert(whole_.end(), part.begin(), part.end());
  // More than this would not be worth it, and need not be computed to its end.
  packed_.resize(sizeof(PackedHead) + whole_.size() / 8 * 7);
  const std::size_t bytes = compress(whole_, std::span(packed_).subspan(sizeof(PackedHead)));
  skipped_ = 0;
  if (bytes == 0) {
    skip_ = std::clamp(2 * skip_, 1u, skip_max);
    return {};
  }
  skip_ = 0;
  PackedHead head{};
  head.bytes = htole32(static_cast<std::uint32_t>(whole_.size()));
  head.codec = static_cast<std::uint8_t>(codec_);
  std::memcpy(packed_.data(), &head, sizeof head);
  return std::span(packed_).first(sizeof head + bytes);
}

/// Bytes of `out` that were written; 0: it has no room.
std::size_t Packer::compress(std::span<const std::byte> in, std::span<std::byte> out) {
  if (codec_ == Codec::zstd) {
    const std::size_t n = ZSTD_compressCCtx(zstd_->context.get(), out.data(), out.size(), in.data(),
                                            in.size(), zstd_level);
    return ZSTD_isError(n) != 0 ? 0 : n;
  }
  return static_cast<std::size_t>(LZ4_compress_default(
      reinterpret_cast<const char*>(in.data()), reinterpret_cast<char*>(out.data()),
      static_cast<int>(in.size()), static_cast<int>(out.size())));
}

struct Unpacker::Zstd {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context{ZSTD_createDCtx()};
};

Unpacker::Unpacker() = default;
Unpacker::~Unpacker() = default;

Result<std::size_t> Unpacker::bytes(const FrameHeader& header, std::span<const std::byte> body) {
  if (header.body_crc != crc32c(body)) return bad_pack("the checksum of packed data is wrong");
  if (body.size() < sizeof(PackedHead)) return bad_pack("packed data is too short");
  const PackedHead head = head_of(body);
  const std::size_t bytes = le32toh(head.bytes);
  if (bytes < header.records * sizeof(Record) || bytes > body_bytes_max(FrameType::data))
    return bad_pack(fmt::format("{} packed records claim {} bytes", header.records, bytes));
  const auto codec = static_cast<Codec>(head.codec);
  if (codec != Codec::lz4 && codec != Codec::zstd)
    return bad_pack(fmt::format("data is packed in way {}, which is not known", head.codec));
  return bytes;
}

/// Whether `in` was just what `out` has room for.
bool Unpacker::expand(Codec codec, std::span<const std::byte> in, std::span<std::byte> out) {
  if (codec == Codec::zstd) {
    if (!zstd_) zstd_ = std::make_unique<Zstd>();
    return ZSTD_decompressDCtx(zstd_->context.get(), out.data(), out.size(), in.data(),
                               in.size()) == out.size();
  }
  const int n = LZ4_decompress_safe(reinterpret_cast<const char*>(in.data()),
                                    reinterpret_cast<char*>(out.data()),
                                    static_cast<int>(in.size()), static_cast<int>(out.size()));
  return n >= 0 && static_cast<std::size_t>(n) == out.size();
}

Result<DataView> Unpacker::unpack(const FrameHeader& header, std::span<const std::byte> body,
                                  std::span<std::byte> out) {
  if (!expand(static_cast<Codec>(head_of(body).codec), body.subspan(sizeof(PackedHead)), out))
    return bad_pack("packed data can't be unpacked");
  FrameHeader plain = header;
  plain.type = static_cast<std::uint16_t>(FrameType::data);
  plain.length = static_cast<std::uint32_t>(out.size());
  plain.body_crc = crc32c(out.first(header.records * sizeof(Record)));
  return decode_data(plain, out);
}

}  // namespace cascade
