// SPDX-License-Identifier: GPL-2.0-or-later
// A journal on a disk in memory, and verbs for it. Everything runs on the test's own thread.
#pragma once

#include "daemon/io/loop.hpp"
#include "daemon/path/journal.hpp"
#include "tests/double/memory_disk.hpp"
#include "tests/double/virtual_clock.hpp"
#include "tests/unit/format/make_record.hpp"

#include <set>
#include <span>
#include <vector>

namespace cascade::test {

inline constexpr std::uint64_t journal_disk_bytes = journal_data_offset + journal_data_bytes_min;

/// An event loop and what stands on it.
struct World {
  Loop io;
  Executor executor = io.get_executor();
  VirtualClock clock{executor};

  /// Runs until nothing is left to do but wait.
  void settle() {
    io.restart();
    while (io.poll() > 0) io.restart();
  }

  template <class T>
  T get(Task<T> task) {
    std::optional<T> out;
    asio::co_spawn(executor, keep(std::move(task), out), [](std::exception_ptr failure) {
      if (failure) std::rethrow_exception(failure);
    });
    settle();
    if (!out) throw std::logic_error("the task still waits");
    return std::move(*out);
  }

 private:
  template <class T>
  static Task<> keep(Task<T> task, std::optional<T>& out) {
    out.emplace(co_await std::move(task));
  }
};

/// Both copies.
inline void put_superblocks(MemoryDisk& disk, const Superblock& sb) {
  for (const std::uint64_t generation : {0, 1})
    encode_superblock(
        sb,
        std::span(disk.image()).subspan(superblock_offset(generation)).first<superblock_bytes>());
}

/// Superblocks alone, of a new journal: batches of an earlier one do not count.
inline void put_superblocks(MemoryDisk& disk, const Uuid& group_uuid = group) {
  put_superblocks(disk, *format_superblock(group_uuid, disk.bytes()));
}

inline void format(MemoryDisk& disk, const Uuid& group_uuid = group) {
  std::memset(disk.image().data(), 0, disk.image().size());
  put_superblocks(disk, group_uuid);
}

inline Superblock superblock_in(std::span<const std::byte> image) {
  const auto copy = [&](std::uint64_t generation) {
    return decode_superblock(
        image.subspan(superblock_offset(generation)).first<superblock_bytes>());
  };
  return *choose_superblock(copy(0), copy(1), group, image.size(), "journal");
}

inline Superblock superblock_on(const MemoryDisk& disk) { return superblock_in(disk.image()); }

/// One write of `bytes`, numbered for its volume, and for its group if `group_seq` is given.
inline Incoming one_write(std::uint64_t volume_seq, std::size_t bytes = 4096,
                          std::uint64_t group_seq = 0, const Uuid& volume = volume_a,
                          std::uint64_t sector = 0) {
  const auto data = pattern(bytes, static_cast<unsigned>(volume_seq));
  Record record = make_record(volume_seq, data, sector, volume);
  if (group_seq > 0) set_group_seq(record, group_seq);
  return make_incoming(std::span(&record, 1), data);
}

inline Incoming one_mark(cascade_mark mark, std::uint64_t group_seq,
                         const Uuid& volume = volume_a) {
  Record record = make_mark(volume, mark, CASCADE_WHY_RESEND, group_seq);
  set_group_seq(record, group_seq);
  return make_incoming(std::span(&record, 1), {});
}

inline Incoming one_caught_up(std::uint64_t through, std::uint64_t group_seq) {
  Record record = make_caught_up(group, through, group_seq);
  set_group_seq(record, group_seq);
  return make_incoming(std::span(&record, 1), {});
}

/// A journal that is open and running.
struct RunningJournal {
  RunningJournal(World& world, MemoryDisk& disk, std::set<Uuid> volumes = {volume_a, volume_b},
                 std::uint64_t cache = 1 << 20)
      : world_(world),
        disk_(disk),
        journal(world.executor, disk, world.clock, group, std::move(volumes), cache),
        crew(world.executor) {
    opened = world.get(journal.open([](const BatchInfo&) {}));
    if (opened) crew.add(journal.run());
  }

  void put(std::uint64_t volume_seq, std::size_t bytes = 4096, const Uuid& volume = volume_a) {
    journal.append(one_write(volume_seq, bytes, journal.next_seq(), volume));
    world_.settle();
  }
  void put_mark(cascade_mark mark, const Uuid& volume = volume_a) {
    journal.append(one_mark(mark, journal.next_seq(), volume));
    world_.settle();
  }
  /// Everything before `seq` may go.
  Result<void> checkpoint(std::uint64_t applied, std::uint64_t keep) {
    return world_.get(journal.checkpoint(applied, keep));
  }
  Result<void> stop_in_order() {
    journal.stop();
    world_.settle();
    return world_.get(journal.close());
  }

  /// The disk stays as it is now, as if it had been killed; then it is good for nothing more.
  void kill() {
    auto image = disk_.image();
    journal.stop();
    world_.settle();
    disk_.image() = std::move(image);
  }

  World& world_;
  MemoryDisk& disk_;
  Journal journal;
  Crew crew;
  Result<void> opened;
};

}  // namespace cascade::test
