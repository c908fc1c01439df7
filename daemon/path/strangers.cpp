// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/strangers.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace cascade {

std::size_t Strangers::size() const {
  return static_cast<std::size_t>(
      std::count_if(waiting_.begin(), waiting_.end(), [](const Entry& e) { return !e.closed; }));
}

void Strangers::make_room() {
  if (size() < connections_max) return;
  std::map<std::string, std::size_t> count;
  for (const Entry& entry : waiting_)
    if (!entry.closed) ++count[entry.stream->peer_host()];
  // Not known goes before known, many before few, old before new.
  const auto claim = [&](const Entry& entry) {
    const std::string& host = entry.stream->peer_host();
    return std::tuple(!entry.closed, !known_.contains(host), count[host]);
  };
  auto& greediest =
      *std::max_element(waiting_.begin(), waiting_.end(),
                        [&](const Entry& a, const Entry& b) { return claim(a) < claim(b); });
  greediest.closed = true;
  greediest.stream->close();
}

}  // namespace cascade
