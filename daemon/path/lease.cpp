// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/lease.hpp"

#include <algorithm>

namespace cascade {

std::uint64_t Renewals::make(Duration now) {
  if (made_.size() < unanswered_max) made_.push_back(now);
  return first_ + made_.size() - 1;
}

std::optional<Duration> Renewals::echoed(std::uint64_t number) {
  if (number < first_ || number >= first_ + made_.size()) return std::nullopt;
  const auto at = made_.begin() + static_cast<std::ptrdiff_t>(number - first_);
  const Duration then = *at;
  made_.erase(made_.begin(), at + 1);
  first_ = number + 1;
  return then;
}

void Leases::extend(const Uuid& volume, Duration until) {
  const auto [lease, made] = until_.try_emplace(volume, until);
  if (!made) lease->second = std::max(lease->second, until);
}

std::vector<Uuid> Leases::take_expired(Duration now) {
  std::vector<Uuid> out;
  for (const auto& [volume, until] : until_)
    if (until <= now) out.push_back(volume);
  for (const Uuid& volume : out) until_.erase(volume);
  return out;
}

std::optional<Duration> Leases::until(const Uuid& volume) const {
  const auto found = until_.find(volume);
  return found == until_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace cascade
