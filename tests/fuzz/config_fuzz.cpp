// SPDX-License-Identifier: GPL-2.0-or-later
// Any text as a configuration file.
#include "lib/config/config.hpp"
#include "tests/fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cascade;
  // toml++ 3 runs into its own TOML_UNREACHABLE at letters like U+025F outside of strings.
  if (std::any_of(data, data + size, [](std::uint8_t c) { return c >= 0x80; })) return 0;
  const auto config = parse_config({reinterpret_cast<const char*>(data), size}, "f");
  if (!config) fuzz::require(config.error().text.find('\n') == std::string::npos);
  return 0;
}
