// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/undo.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace cascade {
namespace {

// Regions that are read and written together: 2 MiB of memory.
constexpr std::size_t together_max = 32;

}  // namespace

void Undo::forget() {
  entries_ = end_ = 0;
  kept_.clear();
}

/// Entry `index` of the log, which begins at `at`, and behind its header in `buffer` its content;
/// nothing if there is no such entry that is whole.
Task<Result<std::optional<UndoEntry>>> Undo::read_entry(std::uint64_t index, std::uint64_t at,
                                                        AlignedBuffer& buffer) {
  using Found = Result<std::optional<UndoEntry>>;
  const auto header = buffer.span().first<undo_block>();
  if (at + undo_block > size_) co_return Found(std::nullopt);
  if (auto read = co_await disk_.read(at, header); !read) co_return read.error();
  const auto entry = decode_undo(log_, index, header);
  if (!entry || at + undo_entry_bytes(entry->bytes) > size_) co_return Found(std::nullopt);
  const auto padded =
      buffer.span().subspan(undo_block, undo_entry_bytes(entry->bytes) - undo_block);
  if (!padded.empty())
    if (auto read = co_await disk_.read(at + undo_block, padded); !read) co_return read.error();
  if (!undo_content_matches(header, padded.first(entry->bytes))) co_return Found(std::nullopt);
  co_return Found(entry);
}

Task<Result<void>> Undo::open(UndoLog log) {
  log_ = log;
  forget();
  AlignedBuffer buffer(undo_entry_bytes(undo_region_bytes));
  for (;;) {
    // One that is torn was never relied on.
    const auto entry = co_await read_entry(entries_, end_, buffer);
    if (!entry) co_return entry.error();
    if (!*entry) co_return Result<void>{};
    if ((*entry)->bytes > 0) note((*entry)->volume, (*entry)->offset);
    end_ += undo_entry_bytes((*entry)->bytes);
    ++entries_;
  }
}

Task<Result<void>> Undo::begin(UndoLog log) {
  if (holds(log)) co_return Result<void>{};
  log_ = log;
  forget();
  const Region nothing;
  co_return co_await write_entries(std::span(&nothing, 1));
}

Task<Result<void>> Undo::abandon() {
  forget();
  AlignedBuffer zeroes(undo_block);
  std::memset(zeroes.span().data(), 0, undo_block);
  co_return co_await disk_.write_durable(0, zeroes.span());
}

void Undo::note(const Uuid& volume, std::uint64_t offset) {
  auto& kept = kept_[volume];
  const std::size_t region = offset / undo_region_bytes;
  if (kept.size() <= region) kept.resize(region + 1);
  kept[region] = true;
}

/// Regions that the ranges touch and that are not kept yet.
std::vector<Undo::Region> Undo::missing(const Copies& copies,
                                        const std::vector<Range>& ranges) const {
  std::map<std::pair<Uuid, std::uint64_t>, Region> found;
  for (const Range& range : ranges) {
    const auto copy = copies.find(range.volume);
    if (copy == copies.end()) continue;
    const auto kept = kept_.find(range.volume);
    for (std::uint64_t region = range.begin / undo_region_bytes;
         region * undo_region_bytes < range.end; ++region) {
      if (kept != kept_.end() && region < kept->second.size() && kept->second[region]) continue;
      const std::uint64_t offset = region * undo_region_bytes;
      const std::uint64_t end =
          std::min<std::uint64_t>(offset + undo_region_bytes, copy->second->bytes());
      if (offset < end)
        found[{range.volume, region}] = {
            range.volume, offset, static_cast<std::uint32_t>(end - offset), copy->second.get()};
    }
  }
  std::vector<Region> out;
  for (const auto& [key, region] : found) out.push_back(region);
  return out;
}

Task<Result<void>> Undo::keep(const Copies& copies, const std::vector<Range>& ranges) {
  const auto regions = missing(copies, ranges);
  std::uint64_t end = end_;
  for (const Region& region : regions) end += undo_entry_bytes(region.bytes);
  if (end > size_)
    co_return Error{Errc::full,
                    fmt::format("{} has no room for {} bytes more", disk_.path(), end - end_)};
  for (std::size_t at = 0; at < regions.size(); at += together_max) {
    const auto some = std::span(regions).subspan(at, std::min(together_max, regions.size() - at));
    if (auto written = co_await write_entries(some); !written) co_return written;
  }
  co_return Result<void>{};
}

Task<Result<void>> Undo::write_entries(std::span<const Region> regions) {
  std::size_t bytes = 0;
  for (const Region& region : regions) bytes += undo_entry_bytes(region.bytes);
  AlignedBuffer buffer(bytes);
  std::memset(buffer.span().data(), 0, bytes);
  std::uint64_t index = entries_;
  std::size_t at = 0;
  for (const Region& region : regions) {
    const auto entry = buffer.span().subspan(at, undo_entry_bytes(region.bytes));
    if (region.copy != nullptr) {
      auto read =
          co_await region.copy->read(region.offset, entry.subspan(undo_block, region.bytes));
      if (!read) co_return read;
    }
    encode_undo(log_, {index++, region.volume, region.offset, region.bytes}, entry);
    at += entry.size();
  }
  if (auto written = co_await disk_.write_durable(end_, buffer.span()); !written) co_return written;
  for (const Region& region : regions)
    if (region.copy != nullptr) note(region.volume, region.offset);
  entries_ = index;
  end_ += bytes;
  co_return Result<void>{};
}

Task<Result<void>> Undo::restore(const Copies& copies) {
  AlignedBuffer buffer(undo_entry_bytes(undo_region_bytes));
  std::uint64_t at = 0;
  for (std::uint64_t index = 0; index < entries_; ++index) {
    const auto entry = co_await read_entry(index, at, buffer);
    if (!entry) co_return entry.error();
    if (!*entry)
      co_return Error{Errc::corrupt,
                      fmt::format("{}: entry {} is damaged; the copies can't be brought back to "
                                  "write {}",
                                  disk_.path(), index, log_.limit_seq)};
    at += undo_entry_bytes((*entry)->bytes);
    const auto copy = copies.find((*entry)->volume);
    if (copy == copies.end() || (*entry)->bytes == 0) continue;
    const DiskWrite write{(*entry)->offset, buffer.span().subspan(undo_block, (*entry)->bytes)};
    if (auto done = co_await copy->second->write(std::span(&write, 1)); !done) co_return done;
  }
  for (const auto& [uuid, copy] : copies)
    if (auto flushed = co_await copy->flush(); !flushed) co_return flushed;
  co_return Result<void>{};
}

}  // namespace cascade
