// SPDX-License-Identifier: GPL-2.0-or-later
// Compressed frames: what comes back is what went in, or one line says why not.
#include "lib/format/pack.hpp"
#include "lib/base/checksum.hpp"
#include "tests/unit/format/make_record.hpp"
#include "tests/unit/seed.hpp"

#include <gmock/gmock.h>

#include <random>

namespace cascade::test {
namespace {

using testing::HasSubstr;

/// Body of a DATA frame with these payloads.
struct Data {
  Bytes bytes;
  std::uint32_t records = 0;
};

Data data_of(const std::vector<std::vector<std::byte>>& payloads) {
  Data data;
  for (const auto& payload : payloads) {
    const Record record = make_record(++data.records, payload);
    const auto head = std::as_bytes(std::span(&record, 1));
    data.bytes.insert(data.bytes.end(), head.begin(), head.end());
  }
  for (const auto& payload : payloads)
    data.bytes.insert(data.bytes.end(), payload.begin(), payload.end());
  return data;
}

std::vector<std::byte> noise(std::size_t bytes, std::mt19937_64& random) {
  std::vector<std::byte> out(bytes);
  for (auto& byte : out) byte = std::byte(random());
  return out;
}

FrameHeader header_of(std::span<const std::byte> body, std::uint32_t records) {
  const FrameHeader made = make_header(FrameType::packed, static_cast<std::uint32_t>(body.size()),
                                       records, 0, crc32c(body));
  return *check_header(std::as_bytes(std::span<const FrameHeader, 1>(&made, 1)));
}

std::span<const std::byte> pack(Packer& packer, const Data& data) {
  const std::span<const std::byte> whole(data.bytes);
  // In parts, as a batch gives it.
  const std::array parts{whole.first(100), whole.subspan(100)};
  return packer.pack(parts);
}

/// The body that `packed` becomes.
Result<Bytes> unpack(std::span<const std::byte> packed, std::uint32_t records) {
  Unpacker unpacker;
  const FrameHeader header = header_of(packed, records);
  const auto bytes = Unpacker::bytes(header, packed);
  if (!bytes) return bytes.error();
  Bytes out(*bytes);
  if (auto view = unpacker.unpack(header, packed, out); !view) return view.error();
  return out;
}

class Packing : public testing::TestWithParam<Codec> {
 protected:
  Packer packer{GetParam()};
};

TEST_P(Packing, BringsBackWhatWentIn) {
  for (const std::size_t size : {512u, 4096u, 65536u, 262144u}) {
    const Data data = data_of({pattern(size, 1), pattern(size, 2)});
    const auto packed = pack(packer, data);
    ASSERT_FALSE(packed.empty()) << size;
    EXPECT_LT(packed.size(), data.bytes.size() / 8 * 7 + sizeof(PackedHead));
    const auto back = unpack(packed, data.records);
    ASSERT_TRUE(back) << back.error().text;
    EXPECT_EQ(*back, data.bytes);
  }
}

TEST_P(Packing, SendsWhatDoesNotBecomeSmallerAsItIs) {
  std::mt19937_64 random(seed_of(1));
  const Data data = data_of({noise(4096, random)});
  EXPECT_TRUE(pack(packer, data).empty());
}

// Incompressible data costs a try now and then; compressible data after it is found soon.
TEST_P(Packing, TriesLessOftenWhatDoesNotPay) {
  std::mt19937_64 random(seed_of(1));
  const Data bad = data_of({noise(4096, random)});
  unsigned tried = 0;
  for (int frame = 0; frame < 1000; ++frame) {
    if (!packer.worth_trying()) continue;
    ++tried;
    (void)pack(packer, bad);
  }
  EXPECT_LT(tried, 30u);
  EXPECT_GT(tried, 10u);
  const Data good = data_of({pattern(4096, 1)});
  int waited = 0;
  while (!packer.worth_trying()) ++waited;
  EXPECT_LE(waited, 64);
  EXPECT_FALSE(pack(packer, good).empty());
  EXPECT_TRUE(packer.worth_trying());
}

TEST_P(Packing, IsCheckedBeforeItIsBelieved) {
  const Data data = data_of({pattern(4096, 1)});
  const auto good = pack(packer, data);
  Bytes bad(good.begin(), good.end());
  bad[4] = std::byte{9};
  EXPECT_THAT(unpack(bad, 1).error().text, HasSubstr("way 9"));
  bad[4] = good[4];
  bad[2] = std::byte{0xff};  // 16 MiB
  EXPECT_THAT(unpack(bad, 1).error().text, HasSubstr("claim"));
  bad[2] = good[2];
  bad[0] ^= std::byte{1};  // a byte more or less than there is
  EXPECT_THAT(unpack(bad, 1).error().text, HasSubstr("can't be unpacked"));
  EXPECT_FALSE(unpack(std::span(good).first(5), 1));
  EXPECT_FALSE(unpack(good, 100)) << "more records than it has bytes for";
  const FrameHeader header = header_of(bad, 1);
  EXPECT_THAT(Unpacker::bytes(header, good).error().text, HasSubstr("checksum"));
}

TEST_P(Packing, SurvivesAnyDamageWithARightChecksum) {
  std::mt19937_64 random(seed_of(1));
  const Data data = data_of({pattern(4096, 1), pattern(4096, 3)});
  const auto good = pack(packer, data);
  for (int i = 0; i < 2000; ++i) {
    Bytes bad(good.begin(), good.end());
    for (int n = 0; n < 3; ++n) bad[random() % bad.size()] = std::byte(random());
    bad.resize(bad.size() - random() % 4);
    const auto back = unpack(bad, data.records);
    EXPECT_TRUE(!back || *back == data.bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, Packing, testing::Values(Codec::lz4, Codec::zstd),
                         [](const auto& info) {
                           return info.param == Codec::lz4 ? "Lz4" : "Zstd";
                         });

}  // namespace
}  // namespace cascade::test
