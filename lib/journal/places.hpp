// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a journal knows of its volumes, and whether the group's bracket is open. Follows the records
// one by one; the same code runs at recovery and behind each write of the journal.
#pragma once

#include "lib/base/uuid.hpp"
#include "lib/format/record.hpp"

#include <cstdint>
#include <map>

namespace cascade {

inline constexpr std::uint64_t no_limit = ~std::uint64_t{0};

/// Where a volume's writes come from: which history of it, and which ring. Nil: not known.
struct VolumeSource {
  Uuid incarnation{};
  Uuid generation{};
  bool operator==(const VolumeSource&) const = default;
};

/// The device of this node's copy of a volume when it was opened last. Zeroes: not known.
struct CopyDevice {
  std::uint64_t identity = 0;  // identity_hash() of what names it
  std::uint64_t bytes = 0;
  bool operator==(const CopyDevice&) const = default;
};

/// How a volume stands to the order of its group: what its last MARK said. While it is attached the
/// two other fields are zero.
struct Standing {
  std::uint8_t mark = CASCADE_MARK_ATTACHED;  // cascade_mark
  std::uint8_t why = 0;                       // cascade_mark_why
  std::uint64_t since_ns = 0;                 // CLOCK_REALTIME of the hub
  bool operator==(const Standing&) const = default;
};

/// Witness: from which generations of a volume it was granted to part. To each of both parties for
/// itself: what is granted to one, or withdrawn, says nothing of the other. Nil: nothing was.
struct Grant {
  Uuid alone{};      // its primary, to go on alone
  Uuid petition{};   // by which that was asked, or withdrawn, last
  Uuid promotion{};  // the hub, to be promoted
  bool operator==(const Grant&) const = default;
};

/// How far a journal has one volume.
struct VolumePlace {
  std::uint64_t volume_seq = 0;  // of its last write
  std::uint64_t group_seq = 0;  // of its last record, or a later one, if the journal may have that;
                                // else zero
  VolumeSource source{};        // of its writes
  CopyDevice copy{};            // of this node
  bool dropped = false;         // writes of it were left out of the copy
  Standing standing{};
  bool leased = false;      // hub: its primary may go on alone once its lease has run out
  std::uint64_t bytes = 0;  // hub: the volume's size, as its primary last said; zero: not known
  Grant grant{};
  bool operator==(const VolumePlace&) const = default;
};

/// What a journal jumped over last, as long as it is not made up for. Else zeroes.
struct Gap {
  std::uint64_t first = 0;  // group_seq
  std::uint64_t last = 0;
};

class Places {
 public:
  Places() = default;
  /// As they were, with their limit_seq(), once `known_seq` had been followed.
  Places(std::map<Uuid, VolumePlace> volumes, std::uint64_t limit_seq, const Gap& gap,
         std::uint64_t known_seq)
      : volumes_(std::move(volumes)), limit_seq_(limit_seq), gap_(gap), known_seq_(known_seq) {}

  /// The journal is not read from its tail on: any of the volumes may have a record in it, through
  /// `group_seq`.
  void may_have_written_through(std::uint64_t group_seq);
  /// The next record of the journal. Those through `known_seq` may come once more, as they do when
  /// recovery begins at the tail: of them only a place in the journal is learnt.
  void follow(const Record& record);
  /// The journal goes on behind `to`; what lies between comes as copies of regions. Opens the
  /// bracket, until a mark says that all have come. What volumes stood apart may be among what was
  /// jumped over: they stand in the order until a mark says otherwise.
  void jump(std::uint64_t from, std::uint64_t to);

  /// Nothing past this may be applied: the last record before the bracket opened. no_limit: none
  /// is.
  std::uint64_t limit_seq() const { return limit_seq_; }
  const Gap& gap() const { return gap_; }
  const std::map<Uuid, VolumePlace>& volumes() const { return volumes_; }
  /// An empty one for a volume that is not known.
  const VolumePlace& at(const Uuid& volume) const;
  VolumePlace& operator[](const Uuid& volume) { return volumes_[volume]; }

  /// Forgets volumes of which `forget` says so; none that is detached.
  template <class F>
  void forget_if(F forget) {
    std::erase_if(volumes_, [&](const auto& entry) {
      return entry.second.standing.mark != CASCADE_MARK_DETACHED &&
             forget(entry.first, entry.second);
    });
  }

 private:
  void follow_mark(VolumePlace& place, const Record& record);
  void follow_caught_up(const Record& record);
  void close_if_whole();
  bool anyone_detached() const;

  std::map<Uuid, VolumePlace> volumes_;
  std::uint64_t limit_seq_ = no_limit;
  Gap gap_{};
  std::uint64_t known_seq_ = 0;
};

}  // namespace cascade
