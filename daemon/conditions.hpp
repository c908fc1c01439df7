// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is wrong or unusual in a group, as conditions with stable codes. This is the one place where
// they are raised and cleared: each follows from what status knows, and lasts as long as that.
#pragma once

#include "lib/api/api.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cascade {

/// From when on something is worth a warning; as in the configuration.
struct WarningLimits {
  std::uint64_t journal_percent = 80;  // of the journal that is used
  double lag_seconds = 300;            // of the remote
};

/// Those that hold now, the worst first, without `since`.
std::vector<api::Condition> find_conditions(const api::Group& group,
                                            const WarningLimits& limits = {});

/// Of the node itself, likewise.
std::vector<api::Condition> find_conditions(const api::StatusReport& node);

/// How often those who have them look: shorter ones come and go unlogged.
inline constexpr std::chrono::seconds condition_interval{2};

/// All that there are.
std::vector<std::string> condition_codes();

/// Remembers since when each holds, and logs each change once.
class ConditionLog {
 public:
  explicit ConditionLog(std::string subject) : subject_(std::move(subject)) {}

  /// Fills `since` in.
  void update(std::vector<api::Condition>& now, std::uint64_t realtime_ns);

 private:
  using Key = std::pair<std::string, std::string>;  // code and subject

  std::string subject_;
  std::map<Key, std::uint64_t> since_;
};

}  // namespace cascade
