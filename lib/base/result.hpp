// SPDX-License-Identifier: GPL-2.0-or-later
//
// Result<T>: a value, or an Error that says in one line what went wrong, where, and what to do.
// Expected failures (disk, network, bad input) travel as results; nothing in the data path throws.
#pragma once

#include <boost/system/result.hpp>

#include <stdexcept>
#include <string>
#include <utility>

namespace cascade {

enum class Errc {
  invalid = 1,  // input breaks a rule: configuration, command, table line
  corrupt,      // a checksum, magic or bound says that stored or received bytes are damaged
  version,      // made by another version of the format or the ABI
  foreign,      // whole and valid, but of another group, volume or journal
  io,           // a device, file or socket failed
  closed,       // the other end is gone, or we are stopping
  refused,      // the other end, or a safety rule, says no
  full,         // a bound that configuration sets is reached
  not_found,    // no such volume, group, node, file or device
};

/// What failed. `text` is one line for a person: subject, what, why with values.
struct Error {
  Errc code;
  std::string text;
};

/// A const Result<bool> is not for co_return: moved from, it converts to bool, and says true.
template <class T>
using Result = boost::system::result<T, Error>;

/// Found by argument-dependent look-up when value() is called on a failed result: a bug of ours.
[[noreturn]] inline void throw_exception_from_error(const Error& error,
                                                    const boost::source_location&) {
  throw std::logic_error(error.text);
}

}  // namespace cascade
