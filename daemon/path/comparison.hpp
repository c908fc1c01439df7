// SPDX-License-Identifier: GPL-2.0-or-later
//
// Of what is out of sync between a primary's volume and the hub's copy, most is often the same: a
// crash leaves whole regions in doubt, a change of roles the whole volume. Before the kernel
// copies, each region is read here, and the hub is asked for the checksum of what it holds there;
// what is the same is in sync. The kernel copies what differs, behind the comparison.
//
// Writers are not held up, and the two ends are read at different moments. Why that is enough
// stands in copy_sums.hpp; a read that is torn by a write is settled by that write, which comes to
// the hub.
#pragma once

#include "daemon/io/clock.hpp"
#include "daemon/io/ring.hpp"
#include "daemon/path/questions.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <span>

namespace cascade {

class Comparison {
 public:
  /// `ring` and `work` outlive run(); `work` is notified when there is something to ask.
  Comparison(const Executor& executor, Clock& clock, Ring& ring, const Uuid& volume, Signal& work);

  /// Until stop(), or the ring is lost.
  Task<> run();
  void stop();

  /// A session has begun whose hub answers, and which has the group's bracket open for the volume.
  /// No more than `open_max` questions are open at a time.
  void begin(std::size_t open_max);
  /// The session is over.
  void end();

  /// What to ask the hub, and its answers.
  Questions& questions() { return questions_; }
  Result<void> answered(const Sum& sum);

  /// Bytes that the hub had already, since the ring was attached.
  std::uint64_t same_bytes() const { return same_bytes_; }

 private:
  struct Region {
    Peeked at;
    ContentSum ours{};
  };

  Task<> step();
  Task<> read_next();
  void note(const Peeked& peeked);
  void settle();
  void settle(const Region& region, const Sum& theirs);
  void let_copy();
  void finish();
  void leave_off();
  bool somebody_writes();

  Clock& clock_;
  Ring& ring_;
  Uuid volume_;
  Signal& work_;
  Signal changed_;
  std::unique_ptr<Timer> timer_;
  Bytes buffer_;  // of a region, while it compares
  Questions questions_;
  std::deque<Region> open_;  // that were asked for
  std::size_t open_max_ = 0;
  std::uint64_t from_ = 0;  // sector; what lies before has been read
  std::uint64_t same_bytes_ = 0;
  std::uint64_t published_ = 0;  // at the last look
  unsigned attempt_ = 0;
  bool wanted_ = false;
  bool read_all_ = false;
  bool to_copy_ = false;  // something differs that the kernel may not copy yet
  bool stopped_ = false;
};

}  // namespace cascade
