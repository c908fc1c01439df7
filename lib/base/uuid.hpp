// SPDX-License-Identifier: GPL-2.0-or-later
//
// The 16-byte UUID that names a group, a volume or a journal, in text and in records.
#pragma once

#include "lib/base/result.hpp"

#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_hash.hpp>

#include <string>
#include <string_view>

namespace cascade {

using Uuid = boost::uuids::uuid;

/// "6b6f0c1e-0000-4000-8000-000000000001": 36 lower-case characters.
std::string to_text(const Uuid& uuid);

/// The first eight of them, for people who compare two.
std::string short_text(const Uuid& uuid);

/// Accepts exactly the 36-character form, either case. Errc::invalid otherwise.
Result<Uuid> parse_uuid(std::string_view text);

/// A new random (version 4) UUID.
Uuid make_uuid();

}  // namespace cascade
