// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hub's side of the bracket. A volume of which the hub may lack writes that others already
// depend on is detached: a MARK in the journal says so, and from there on the group's copies stand
// still, at hub and remote, while the journal goes on receiving. When the volume has sent again
// what was missing, another MARK attaches it; with the last one everything in between becomes
// visible at once. An operator may leave a volume behind instead.
//
// After a crash under `hub-ack memory-sync` every volume that had sent anything is detached: what
// the hub had acknowledged on receipt and lost is in the rings, and comes again in another order.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/path/journal.hpp"

#include <cstdint>
#include <map>
#include <optional>

namespace cascade {

class Bracket {
 public:
  /// What a detached volume has to send before it is attached.
  struct Awaited {
    Uuid incarnation;        // of the ring that said so
    std::uint64_t last = 0;  // its volume_seq at the time
  };
  struct Apart {
    Standing standing;
    std::optional<Awaited> awaited;  // none: its primary has not come back yet
    bool resync = false;             // it copies what is out of sync, and says when all is
    bool confirmed = false;          // its primary is known not to be alone
  };

  Bracket(Journal& journal, Clock& clock) : journal_(journal), clock_(clock) {}

  /// After the journal is open: goes on with the brackets that it holds.
  void load();
  /// Before its first session.
  void detach(const Uuid& volume, cascade_mark_why why);
  /// What a volume's session says of itself, whose writes the hub has through `received`.
  struct Back {
    Uuid incarnation;
    std::uint64_t last = 0;  // write in its ring
    std::uint64_t received = 0;
    bool out_of_sync = false;  // something has to be copied
    bool confirmed = true;     // it can't be alone, or not any more
  };
  /// The volume has a session again. A ring that comes once more is awaited through what it named
  /// first: the rest is new. What is out of sync opens the bracket if it is not open.
  void came_back(const Uuid& volume, const Back& back);
  /// The volume's primary has taken a lease since it came back. Until then it may have gone on
  /// alone again since its hello.
  void confirm(const Uuid& volume, std::uint64_t received);
  /// The lease of the volume has run out: its primary may be alone.
  void lease_over(const Uuid& volume);
  /// Whether the volume may copy what is out of sync.
  bool may_resync(const Uuid& volume) const;
  /// The volume's record that says that everything is copied has been appended.
  void resynced(const Uuid& volume, std::uint64_t received);
  /// Writes of the volume through `received` have been appended.
  void arrived(const Uuid& volume, std::uint64_t received);
  /// The group goes on without the volume. Errc::refused if nothing waits for it.
  Result<void> leave(const Uuid& volume);

  /// Says of each of those how it stands once more, for a remote that may have missed it.
  void repeat();

  /// Volumes that are detached or left behind, as of what was received.
  const std::map<Uuid, Apart>& apart() const { return apart_; }

 private:
  void mark(const Uuid& volume, cascade_mark mark, std::uint8_t why);

  Journal& journal_;
  Clock& clock_;
  std::map<Uuid, Apart> apart_;
};

}  // namespace cascade
