// SPDX-License-Identifier: GPL-2.0-or-later
//
// A TOML table being read: every key is asked for by name and type, what nobody asked for is an
// error, and every error knows its line. Only lib/config includes this. The first error is thrown
// as ConfigError and turned into a Result at the edge, in config.cpp.
#pragma once

#include "lib/base/uuid.hpp"

#define TOML_HEADER_ONLY 1
// Some wrong input ("[,") breaks an assertion inside toml++ 3, which in a release build is an
// assumption that the compiler may build upon. Without either, the parser goes on and says what is
// wrong.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expr) static_cast<void>(0)
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace cascade {

struct ConfigError {
  std::string text;
};

class TableReader {
 public:
  /// `where` is how people name the table: "[group.shop]".
  TableReader(const toml::table& table, std::string where, const std::string& path)
      : table_(table), where_(std::move(where)), path_(path) {}

  std::string text(std::string_view key);
  std::optional<std::string> optional_text(std::string_view key);
  Uuid uuid(std::string_view key);
  std::uint64_t size(std::string_view key, std::uint64_t otherwise, std::uint64_t min,
                     std::uint64_t max);
  std::chrono::milliseconds duration(std::string_view key, std::chrono::milliseconds otherwise,
                                     std::chrono::milliseconds min, std::chrono::milliseconds max);
  std::int64_t integer(std::string_view key);
  /// From 1 to 100.
  std::uint64_t percent(std::string_view key, std::uint64_t otherwise);
  /// name -> text, for tables like `disk = { p1 = "/dev/..." }`.
  std::map<std::string, std::string> texts(std::string_view key);
  bool is_table(std::string_view key);
  /// Calls `each` for every sub-table of table `key`, in file order; `key` may be missing.
  void tables(std::string_view key,
              const std::function<void(const std::string&, TableReader&)>& each);
  std::optional<TableReader> optional_table(std::string_view key);

  /// One of the words, by its place in `words`.
  std::size_t word(std::string_view key, std::initializer_list<std::string_view> words);

  /// Everything in the table must have been asked for.
  void finish();

  [[noreturn]] void fail(std::string_view key, const std::string& what);
  [[noreturn]] void fail_here(const std::string& what);

 private:
  const toml::node* find(std::string_view key);
  const toml::node& require(std::string_view key);
  std::string string_of(std::string_view key, const toml::node& node);
  [[noreturn]] void fail_at(const toml::source_region& at, const std::string& what);

  const toml::table& table_;
  std::string where_;
  const std::string& path_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace cascade
