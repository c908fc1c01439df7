// SPDX-License-Identifier: GPL-2.0-or-later
//
// The running hash of a group's history: which writes a journal holds, in one number. Two journals
// of one group hold the same writes through N if, and but for one chance in 2^64 only if, their
// hashes at N are equal. A number N alone says nothing: a restored snapshot and a journal made anew
// have numbers too.
//
// XXH3 (https://github.com/Cyan4973/xxHash, 64 bits) of each sealed record, seeded with the hash
// before it; the record holds the checksum of its payload.
#pragma once

#include "lib/format/record.hpp"

#include <cstdint>

namespace cascade {

using History = std::uint64_t;

/// Before the first write of a group.
History history_begin(const Uuid& group);

/// Before it as well, but of copies that hold a volume as of write `volume_seq` of `generation`
/// already; once for each, in the order of their UUIDs.
History history_begin_with(History before, const Uuid& volume, std::uint64_t volume_seq,
                           const Uuid& generation);

/// After one more write, whose group_seq is set.
History history_after(History before, const Record& record);

}  // namespace cascade
