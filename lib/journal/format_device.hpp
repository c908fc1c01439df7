// SPDX-License-Identifier: GPL-2.0-or-later
//
// Makes a journal on a device or file, and reads what one says of itself: what `dmcascade journal
// format` and `show` do. Blocking I/O.
#pragma once

#include "lib/journal/layout.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace cascade {

/// `path`: a block device, or a file that is created with `file_bytes` (or used as it is).
/// Refuses, and changes nothing, if the device is in use, too small, or holds a journal or any
/// signature that libblkid knows, unless `force`. Errc::refused, invalid, io.
Result<Superblock> format_journal(const std::string& path, const Uuid& group,
                                  std::optional<std::uint64_t> file_bytes, bool force,
                                  const Beginning& beginning = {});

/// Nobody follows with this journal any more, for its copies go on as `generation`, as if the group
/// had been promoted here at `time_ns`. Refused where held_by_copies() is, or while a daemon has
/// it.
Result<void> retire_journal(const std::string& path, const Uuid& group, const Uuid& generation,
                            std::uint64_t time_ns);

/// What the superblocks of the journal at `path` say; reads only, also while a daemon has it.
/// Errors as of choose_superblock().
Result<Superblock> read_journal(const std::string& path, const Uuid& group);

/// Forgets which device the copy of a volume was on: whatever it is on next is right. Errors as of
/// choose_superblock(); refused while a daemon has the journal.
Result<void> accept_copy(const std::string& path, const Uuid& group, const Uuid& volume);

}  // namespace cascade
