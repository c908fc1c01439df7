// SPDX-License-Identifier: GPL-2.0-or-later
//
// Connections that have not said hello yet. Their number is bounded, and nobody can use it up: a
// new one gets its place from the host that holds most of them, hosts outside the configuration
// first.
#pragma once

#include "daemon/io/net.hpp"

#include <cstddef>
#include <list>
#include <set>
#include <string>

namespace cascade {

class Strangers {
 public:
  static constexpr std::size_t connections_max = 64;

  struct Entry {
    Stream* stream;
    bool closed = false;  // by us: it leaves as soon as its reader notices
  };
  using Place = std::list<Entry>::iterator;

  /// `known`: addresses of the configured nodes.
  explicit Strangers(std::set<std::string> known) : known_(std::move(known)) {}

  void know(std::set<std::string> known) { known_ = std::move(known); }

  /// Before one is let in: closes the oldest one of the greediest host if there is no room.
  void make_room();
  Place enter(Stream& stream) { return waiting_.insert(waiting_.end(), {&stream}); }
  /// It has said hello, or is closed.
  void leave(Place place) { waiting_.erase(place); }

  /// Those that have not been closed.
  std::size_t size() const;

 private:
  std::set<std::string> known_;
  std::list<Entry> waiting_;  // oldest first
};

}  // namespace cascade
