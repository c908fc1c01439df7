// SPDX-License-Identifier: GPL-2.0-or-later
// A journal in memory, written batch by batch as the daemon would, and recovered.
#pragma once

#include "lib/journal/recover.hpp"
#include "tests/unit/format/make_record.hpp"

#include <cstring>
#include <optional>
#include <vector>

namespace cascade::test {

struct Image {
  Superblock sb;
  std::vector<std::byte> bytes;
  Recovery::Head head;
  std::uint64_t volume_seq = 0;
  std::uint64_t lag = 1;  // durable_number is number - lag

  explicit Image(std::uint64_t device_bytes = journal_data_offset + journal_data_bytes_min)
      : sb(*format_superblock(group, device_bytes)), bytes(device_bytes) {
    sb.epoch = 1;
    sb.clean = false;
    head = {sb.tail_position, sb.tail_number, sb.tail_seq, 0, sb.tail_history, false};
  }

  std::size_t offset(std::uint64_t position) const {
    return sb.data_offset + position % sb.data_bytes;
  }

  void put(BatchInfo info, std::vector<std::byte> batch) {
    info.epoch = sb.epoch;
    info.number = head.number;
    info.position = head.position;
    info.first_seq = head.seq;
    info.durable_number = head.number - std::min(lag, head.number);
    info.previous_crc = head.previous_crc;
    info.history = head.history;
    const std::size_t head_bytes =
        info.kind == BatchKind::skip ? journal_block : batch_head_bytes(info.records);
    head.previous_crc = seal_batch(info, sb.journal, std::span(batch).first(head_bytes));
    std::memcpy(bytes.data() + offset(info.position), batch.data(), batch.size());
    head.position += info.bytes;
    head.number += 1;
    head.seq += info.records;
  }

  /// Appends a batch of `records` writes of `payload` bytes each; returns where it begins.
  std::uint64_t append(std::size_t records, std::size_t payload) {
    const std::size_t size = batch_bytes(records, records * payload);
    if (const auto to_end = sb.data_bytes - head.position % sb.data_bytes; size > to_end) {
      BatchInfo skip;
      skip.kind = BatchKind::skip;
      skip.bytes = to_end;
      put(skip, std::vector<std::byte>(journal_block));
    }
    std::vector<std::byte> batch(size);
    for (std::size_t i = 0; i < records; ++i) {
      const auto data = pattern(payload, static_cast<unsigned>(++volume_seq));
      Record r = payload > 0 ? make_record(volume_seq, data)
                             : make_record(volume_seq, {}, 0, volume_a, CASCADE_OP_DISCARD, 4096);
      set_group_seq(r, head.seq + i);
      std::memcpy(batch.data() + sizeof(BatchHeader) + i * sizeof r, &r, sizeof r);
      if (payload > 0)
        std::memcpy(batch.data() + batch_head_bytes(records) + i * payload, data.data(), payload);
    }
    BatchInfo info;
    info.records = static_cast<std::uint32_t>(records);
    info.payload_bytes = static_cast<std::uint32_t>(records * payload);
    info.bytes = size;
    const auto position = head.position;
    History history = head.history;
    for (std::size_t i = 0; i < records; ++i) {
      Record r;
      std::memcpy(&r, batch.data() + sizeof(BatchHeader) + i * sizeof r, sizeof r);
      history = history_after(history, r);
    }
    put(info, std::move(batch));
    head.history = history;
    return position;
  }

  struct Recovered {
    std::optional<Error> error;
    Recovery::Head head;
    std::vector<std::uint64_t> first_seqs;
    std::map<Uuid, VolumePlace> volumes;
    std::uint64_t limit_seq = 0;
  };

  Recovered recover() const {
    Recovery recovery(sb);
    Recovered out;
    while (const auto read = recovery.next()) {
      const auto batch = recovery.feed(std::span(bytes).subspan(read->offset, read->bytes));
      if (!batch) {
        out.error = batch.error();
        return out;
      }
      if (*batch) out.first_seqs.push_back((*batch)->first_seq);
    }
    out.head = recovery.head();
    out.volumes = recovery.places().volumes();
    out.limit_seq = recovery.places().limit_seq();
    return out;
  }
};

}  // namespace cascade::test
