// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a sender asks the other end's copies in a session, and the answers, which come in the order
// of the questions.
#pragma once

#include "lib/base/limits.hpp"
#include "lib/format/frame.hpp"

#include <deque>
#include <span>
#include <vector>

namespace cascade {

class Questions {
 public:
  /// No more than limits::asks_max at a time: see open().
  void ask(const Ask& ask) { unsent_.push_back(ask); }
  /// Asked, and the answer was not taken.
  std::size_t open() const { return unsent_.size() + sent_.size() + answers_.size(); }
  /// What to send now, at most so many; it counts as sent.
  std::vector<Ask> send(std::size_t most = limits::asks_max);
  bool to_send() const { return !unsent_.empty(); }
  /// Sent, and not answered.
  std::size_t waiting() const { return sent_.size(); }
  /// Errc::refused if that is not what was asked.
  Result<void> answered(std::span<const Sum> sums);
  /// No answer to what was asked until now is wanted any more.
  void forget();
  /// Takes the answer to the oldest question, if it is there.
  std::optional<Sum> take();
  /// The session is over.
  void clear();

 private:
  std::deque<Ask> unsent_;
  std::deque<Ask> sent_;
  std::size_t unwanted_ = 0;  // of sent_, the first ones
  std::deque<Sum> answers_;
};

}  // namespace cascade
