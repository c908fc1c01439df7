// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/questions.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {

std::vector<Ask> Questions::send(std::size_t most) {
  const auto end = unsent_.begin() + static_cast<std::ptrdiff_t>(std::min(most, unsent_.size()));
  std::vector<Ask> now(unsent_.begin(), end);
  sent_.insert(sent_.end(), now.begin(), now.end());
  unsent_.erase(unsent_.begin(), end);
  return now;
}

Result<void> Questions::answered(std::span<const Sum> sums) {
  for (const Sum& sum : sums) {
    if (sent_.empty() || sum.of != sent_.front())
      return Error{Errc::refused,
                   fmt::format("the peer says what its copy of {} holds at byte {}, which was not "
                               "asked",
                               to_text(sum.of.volume), sum.of.begin)};
    sent_.pop_front();
    if (unwanted_ > 0)
      --unwanted_;
    else
      answers_.push_back(sum);
  }
  return {};
}

std::optional<Sum> Questions::take() {
  if (answers_.empty()) return std::nullopt;
  const Sum sum = answers_.front();
  answers_.pop_front();
  return sum;
}

void Questions::forget() {
  unwanted_ = sent_.size();
  unsent_.clear();
  answers_.clear();
}

void Questions::clear() {
  sent_.clear();
  forget();
}

}  // namespace cascade
