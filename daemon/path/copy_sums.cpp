// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/copy_sums.hpp"

namespace cascade {

/// False where it will not be.
Task<bool> CopySums::ready(const Uuid& volume, const Intake& intake, const bool& stopped) {
  while (!stopped && !applier_.failure() && !journal_.failure()) {
    const auto from = intake.comparable_from(volume);
    if (from && applier_.applied_seq() >= *from) co_return true;
    if (from && applier_.past() == Applier::Past::no && journal_.limit_seq() < *from)
      co_return false;
    co_await journal_.progress().wait();
  }
  co_return false;
}

Task<std::optional<ContentSum>> CopySums::sum_of(const Ask& ask, const Intake& intake,
                                                 const bool& stopped) {
  using Answer = std::optional<ContentSum>;
  const bool comparable = co_await ready(ask.volume, intake, stopped);
  Disk* copy = comparable ? applier_.copy(ask.volume) : nullptr;
  if (copy == nullptr || ask.begin + ask.bytes > copy->bytes()) co_return Answer();
  const unsigned rewinds = applier_.rewinds();
  AlignedBuffer content(ask.bytes);
  const auto read = co_await copy->read(ask.begin, content.span());
  // A copy that failed meanwhile may have lost what it had to hold.
  if (!read || stopped || applier_.failure() || applier_.rewinds() != rewinds) co_return Answer();
  co_return Answer(content_sum(content.span()));
}

}  // namespace cascade
