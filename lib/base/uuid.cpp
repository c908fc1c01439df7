// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/base/uuid.hpp"

#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <cctype>

namespace cascade {
namespace {

constexpr std::size_t text_length = 36;

bool is_dash_place(std::size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

bool well_formed(std::string_view text) {
  if (text.size() != text_length) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (is_dash_place(i) ? c != '-' : std::isxdigit(c) == 0) return false;
  }
  return true;
}

}  // namespace

std::string to_text(const Uuid& uuid) { return boost::uuids::to_string(uuid); }

std::string short_text(const Uuid& uuid) { return to_text(uuid).substr(0, 8); }

Result<Uuid> parse_uuid(std::string_view text) {
  if (!well_formed(text))
    return Error{Errc::invalid, "'" + std::string(text) +
                                    "' is not a UUID; write 32 hexadecimal digits as "
                                    "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"};
  return boost::uuids::string_generator{}(text.begin(), text.end());
}

Uuid make_uuid() { return boost::uuids::random_generator{}(); }

}  // namespace cascade
