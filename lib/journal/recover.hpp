// SPDX-License-Identifier: GPL-2.0-or-later
//
// Recovery: walk the circle from the superblock's tail, or its index, to the last whole batch.
// Decides, reads nothing: the caller asks next() what to read, reads it, and feeds it back, so that
// the same code runs in the daemon, in the simulator and in the fuzzer.
#pragma once

#include "lib/journal/layout.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace cascade {

class Recovery {
 public:
  struct Read {
    std::uint64_t offset;  // bytes from the start of the device, a multiple of journal_block
    std::size_t bytes;     // a multiple of journal_block, at most that of the largest batch
  };

  /// Where appending goes on: just behind the last whole batch.
  struct Head {
    std::uint64_t position = 0;
    std::uint64_t number = 0;  // of the next batch
    std::uint64_t seq = 0;     // of the next record
    std::uint32_t previous_crc = 0;
    History history = 0;  // through the record before `seq`
    bool torn = false;    // something unfinished stood behind the last whole batch; it is discarded
  };

  /// From the tail on; or from behind `index`, the header of an index that stands in the circle, is
  /// whole, and is no newer than the superblock.
  explicit Recovery(const Superblock& superblock, const std::optional<BatchInfo>& index = {});

  /// What to read next; nothing when the walk is over (or has failed).
  std::optional<Read> next() const;

  /// The bytes that next() asked for. Returns the batch if a whole data batch was just completed.
  /// Errc::corrupt: damage with valid batches behind it; the text says where. Stop, change nothing.
  Result<std::optional<BatchInfo>> feed(std::span<const std::byte> bytes);

  /// Valid once next() returns nothing and no feed() failed.
  const Head& head() const { return head_; }

  /// How the volumes stand at the head.
  const Places& places() const { return places_; }

 private:
  enum class Phase { header, batch, probe, probed_batch, done };

  Result<std::optional<BatchInfo>> feed_header(std::span<const std::byte> block);
  Result<std::optional<BatchInfo>> feed_batch(std::span<const std::byte> bytes);
  Result<std::optional<BatchInfo>> feed_probe(std::span<const std::byte> bytes);
  Result<std::optional<BatchInfo>> feed_probed_batch(std::span<const std::byte> bytes);
  Result<void> follows(const BatchInfo& info) const;
  std::optional<BatchInfo> accept(const BatchInfo& info, std::span<const Record> records);
  Result<std::optional<BatchInfo>> stop_at(const std::string& why);
  Error damaged(const std::string& why) const;
  bool later_than_superblock(const BatchInfo& info) const;
  Error superblock_lost(const BatchInfo& info) const;
  bool is_evidence(const BatchInfo& info, std::uint64_t position) const;
  std::uint64_t offset_of(std::uint64_t position) const;
  std::uint64_t to_end(std::uint64_t position) const;

  Superblock superblock_;
  Phase phase_ = Phase::header;
  Head head_;
  std::uint64_t last_epoch_ = 0;
  BatchInfo expected_;  // of the batch being read: its position and size
  std::string why_;     // what is wrong with the batch at the head
  std::uint64_t probe_ = 0;
  std::uint64_t probe_end_ = 0;
  Places places_;
};

}  // namespace cascade
