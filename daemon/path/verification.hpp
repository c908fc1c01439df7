// SPDX-License-Identifier: GPL-2.0-or-later
//
// What comparisons of this node's copies with the primaries' volumes have found, and those of the
// nodes downstream. A primary puts VERIFY records into the stream; each node compares when they
// come to their turn, when its copy holds just what the volume held.
#pragma once

#include "lib/format/frame.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace cascade {

class Verification {
 public:
  enum class Outcome {
    same,
    differs,
    skipped,  // the copy was no image of one moment then
  };

  explicit Verification(std::string node) : node_(std::move(node)) {}

  /// A VERIFY record has come to its turn, at `now_ns` (CLOCK_REALTIME). One that does not lie
  /// behind the last one begins anew: a comparison goes through the volume once.
  void note(const Record& record, Outcome outcome, std::uint64_t now_ns);
  /// A node downstream says so of its own.
  void learn(Verified theirs);

  /// By volume and node. `change`: what changes() was then.
  struct Entry {
    Verified found;
    std::uint64_t change = 0;
    std::uint64_t last_sector = 0;   // own: of the last record that was counted
    std::uint64_t last_time_ns = 0;  // own: its primary_time_ns
  };
  using All = std::map<std::pair<Uuid, std::string>, Entry>;
  const All& all() const { return all_; }
  /// Null if this node has compared nothing of the volume.
  const Verified* own(const Uuid& volume) const;
  /// Grows with each change of them.
  std::uint64_t changes() const { return changes_; }

 private:
  std::string node_;
  All all_;
  std::uint64_t changes_ = 0;
};

}  // namespace cascade
