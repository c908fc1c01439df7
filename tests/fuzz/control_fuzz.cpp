// SPDX-License-Identifier: GPL-2.0-or-later
// Lines on the control socket, either way.
#include "lib/api/api.hpp"
#include "tests/fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cascade;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)api::parse_request(text);
  if (const auto status = api::parse_status(text))
    fuzz::require(static_cast<bool>(api::parse_status(api::to_json(*status))));
  return 0;
}
