// SPDX-License-Identifier: GPL-2.0-or-later
// A running journal on a small disk in memory that is made ready again for each input.
#pragma once

#include "daemon/path/journal_reader.hpp"
#include "lib/config/config.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/unit/path/journal_rig.hpp"

namespace cascade::fuzz {

inline constexpr std::uint64_t copy_bytes = 1 << 20;

inline GroupConfig a_group() {
  GroupConfig g;
  g.name = "shop";
  g.uuid = test::group;
  g.hub = "h";
  g.remote = "r";
  g.volumes.push_back({"orders", test::volume_a, "p1", {}, 1 << 20});
  g.volumes.push_back({"ledger", test::volume_b, "p2", {}, 1 << 20});
  return g;
}

class Rig {
 public:
  Rig() : disk_(world.executor, "journal", std::move(spare_image())) {
    test::put_superblocks(disk_);
    run_.emplace(world, disk_);
  }
  ~Rig() {
    run_->journal.stop();
    world.settle();
    spare_image() = std::move(disk_.image());
  }

  Journal& journal() { return run_->journal; }

  /// Everything that was taken is stored, in order, right, and within the copies.
  void check_journal() {
    world.settle();
    require(!journal().failure());
    JournalReader reader(journal());
    for (std::uint64_t seq = 1; seq <= journal().stored_seq();) {
      const auto batch = world.get(reader.read(seq));
      require(static_cast<bool>(batch));
      for (const Record& record : (*batch)->records()) {
        require(static_cast<bool>(check_record(record)) && group_seq_of(record) == seq++);
        if (length_of(record) > 0 && volume_of(record) == test::volume_a)
          require(inside(record, copy_bytes));
      }
    }
  }

  test::World world;
  GroupConfig group = a_group();

 private:
  /// Large, and used again: making it anew would be most of an input's time.
  static std::vector<std::byte>& spare_image() {
    static std::vector<std::byte> image(test::journal_disk_bytes);
    return image;
  }

  test::MemoryDisk disk_;
  std::optional<test::RunningJournal> run_;
};

}  // namespace cascade::fuzz
