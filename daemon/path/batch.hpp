// SPDX-License-Identifier: GPL-2.0-or-later
//
// One journal batch in memory, in the form that it has on disk. Immutable once sealed, shared by
// the writer, the applier and the shipper.
#pragma once

#include "lib/journal/layout.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

namespace cascade {

/// Block-aligned memory for direct I/O, not zeroed.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t bytes)
      : data_(static_cast<std::byte*>(std::aligned_alloc(journal_block, round_up(bytes)))),
        size_(bytes) {
    if (!data_) throw std::bad_alloc();
  }

  std::span<std::byte> span() { return {data_.get(), size_}; }
  std::span<const std::byte> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  static std::size_t round_up(std::size_t n) {
    return (n + journal_block - 1) / journal_block * journal_block;
  }

  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_;
};

struct Batch {
  BatchInfo info;
  AlignedBuffer buffer;

  std::span<const std::byte> bytes() const { return buffer.span(); }
  std::span<const Record> records() const { return batch_records(bytes(), info); }
  std::span<const std::byte> payload() const { return batch_payload(bytes(), info); }
  std::uint64_t first_seq() const { return info.first_seq; }
  std::uint64_t last_seq() const { return info.first_seq + info.records - 1; }
};

using BatchPtr = std::shared_ptr<const Batch>;

}  // namespace cascade
