// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/journal/format_device.hpp"

#include "lib/block/block_file.hpp"

#include <fmt/format.h>

#include <functional>
#include <vector>

namespace cascade {
namespace {

Result<Superblock> read_copy(const BlockFile& file, std::uint64_t generation) {
  std::vector<std::byte> block(superblock_bytes);
  if (auto ok = file.read(superblock_offset(generation), block); !ok) return ok.error();
  return decode_superblock(std::span(block).first<superblock_bytes>());
}

Result<void> refuse_journal(const BlockFile& file, const std::string& path) {
  for (const std::uint64_t generation : {0, 1})
    if (const auto found = read_copy(file, generation))
      return Error{Errc::refused,
                   fmt::format("{} already is a journal, of group {}; --force formats "
                               "it anew and loses what it holds",
                               path, to_text(found->group))};
  return {};
}

Result<void> write_all(BlockFile& file, const Superblock& sb) {
  std::vector<std::byte> block(superblock_bytes);
  const std::vector<std::byte> zero(journal_block);
  // No batch of an earlier life may stand where the first one will.
  if (auto ok = file.write(sb.data_offset, zero); !ok) return ok;
  encode_superblock(sb, std::span(block).first<superblock_bytes>());
  for (const std::uint64_t generation : {0, 1})
    if (auto ok = file.write(superblock_offset(generation), block); !ok) return ok;
  return file.flush();
}

/// One write of the next superblock, of a journal that no daemon has.
Result<void> change_journal(const std::string& path, const Uuid& group,
                            const std::function<Result<void>(Superblock&)>& change) {
  auto file = BlockFile::open(path);
  if (!file) return file.error();
  auto sb = choose_superblock(read_copy(*file, 0), read_copy(*file, 1), group, file->bytes(), path);
  if (!sb) return sb.error();
  if (auto ok = change(*sb); !ok) return ok;
  sb->generation += 1;
  std::vector<std::byte> block(superblock_bytes);
  encode_superblock(*sb, std::span(block).first<superblock_bytes>());
  if (auto ok = file->write(superblock_offset(sb->generation), block); !ok) return ok;
  return file->flush();
}

}  // namespace

Result<Superblock> format_journal(const std::string& path, const Uuid& group,
                                  std::optional<std::uint64_t> file_bytes, bool force,
                                  const Beginning& beginning) {
  auto file = BlockFile::open(path, file_bytes);
  if (!file) return file.error();
  auto sb = format_superblock(group, file->bytes());
  if (!sb) return Error{sb.error().code, fmt::format("{}: {}", path, sb.error().text)};
  begin_with(*sb, beginning);
  if (!force) {
    if (auto ok = refuse_journal(*file, path); !ok) return ok.error();
    if (auto ok = file->refuse_signature("--force overwrites it"); !ok) return ok.error();
  }
  if (auto ok = write_all(*file, *sb); !ok) return ok.error();
  return sb;
}

Result<Superblock> read_journal(const std::string& path, const Uuid& group) {
  const auto file = BlockFile::look(path);
  if (!file) return file.error();
  return choose_superblock(read_copy(*file, 0), read_copy(*file, 1), group, file->bytes(), path);
}

Result<void> retire_journal(const std::string& path, const Uuid& group, const Uuid& generation,
                            std::uint64_t time_ns) {
  return change_journal(path, group, [&](Superblock& sb) -> Result<void> {
    if (const auto held = held_by_copies(sb); !held) return held.error();
    sb.takeover = {generation, time_ns, false, sb.applied_seq};
    return {};
  });
}

Result<void> accept_copy(const std::string& path, const Uuid& group, const Uuid& volume) {
  return change_journal(path, group, [&](Superblock& sb) -> Result<void> {
    if (const auto entry = sb.volumes.find(volume); entry != sb.volumes.end())
      entry->second.copy = {};
    return {};
  });
}

}  // namespace cascade
