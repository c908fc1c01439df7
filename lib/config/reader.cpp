// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config/reader.hpp"

#include "lib/config/units.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace cascade {
namespace {

/// How many letters differ, roughly: for "did you mean".
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

template <class Names>
std::string did_you_mean(std::string_view key, const Names& names) {
  std::string best;
  std::size_t least = key.size() / 2 + 1;
  for (const auto& name : names)
    if (const std::size_t d = distance(key, name); d < least) {
      least = d;
      best = name;
    }
  return best.empty() ? fmt::format("known here: {}", fmt::join(names, ", "))
                      : fmt::format("did you mean '{}'?", best);
}

}  // namespace

void TableReader::fail_at(const toml::source_region& at, const std::string& what) {
  throw ConfigError{fmt::format("{}:{}:{}: {}", path_, at.begin.line, at.begin.column, what)};
}

void TableReader::fail(std::string_view key, const std::string& what) {
  const toml::node* node = table_.get(key);
  fail_at(node != nullptr ? node->source() : table_.source(), what);
}

void TableReader::fail_here(const std::string& what) { fail_at(table_.source(), what); }

const toml::node* TableReader::find(std::string_view key) {
  asked_.emplace(key);
  return table_.get(key);
}

const toml::node& TableReader::require(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) fail_here(fmt::format("{} lacks '{}'; add it", where_, key));
  return *node;
}

std::string TableReader::string_of(std::string_view key, const toml::node& node) {
  const auto value = node.value_exact<std::string>();
  if (!value) fail_at(node.source(), fmt::format("'{}' must be text in quotes", key));
  return *value;
}

std::string TableReader::text(std::string_view key) { return string_of(key, require(key)); }

std::optional<std::string> TableReader::optional_text(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  return string_of(key, *node);
}

Uuid TableReader::uuid(std::string_view key) {
  auto parsed = parse_uuid(text(key));
  if (!parsed) fail(key, parsed.error().text);
  if (*parsed == Uuid{})
    fail(key, fmt::format("'{}' is the UUID of nothing; make one with uuidgen", key));
  return *parsed;
}

std::int64_t TableReader::integer(std::string_view key) {
  const auto value = require(key).value_exact<std::int64_t>();
  if (!value) fail(key, fmt::format("'{}' must be a whole number", key));
  return *value;
}

std::uint64_t TableReader::percent(std::string_view key, std::uint64_t otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  const auto value = node->value_exact<std::int64_t>();
  if (!value || *value < 1 || *value > 100)
    fail(key, fmt::format("'{}' must be a number of percent from 1 to 100", key));
  return static_cast<std::uint64_t>(*value);
}

std::uint64_t TableReader::size(std::string_view key, std::uint64_t otherwise, std::uint64_t min,
                                std::uint64_t max) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  const auto number = node->value_exact<std::int64_t>();
  const auto size = number && *number >= 0 ? static_cast<std::uint64_t>(*number)
                                           : parse_size(node->value_or(std::string_view{}));
  if (!size) fail(key, fmt::format("'{}' must be a size like \"64MiB\"", key));
  if (*size < min || *size > max)
    fail(key, fmt::format("'{}' is {}; it must be from {} to {}", key, human_bytes(*size),
                          human_bytes(min), human_bytes(max)));
  return *size;
}

std::chrono::milliseconds TableReader::duration(std::string_view key,
                                                std::chrono::milliseconds otherwise,
                                                std::chrono::milliseconds min,
                                                std::chrono::milliseconds max) {
  const auto written = optional_text(key);
  if (!written) return otherwise;
  const auto parsed = parse_duration(*written);
  if (!parsed) fail(key, fmt::format("'{}' must be a duration like \"100ms\" or \"5s\"", key));
  if (*parsed < min || *parsed > max)
    fail(key,
         fmt::format("'{}' must be from {} to {}", key, human_duration(min), human_duration(max)));
  return *parsed;
}

bool TableReader::is_table(std::string_view key) {
  const toml::node* node = find(key);
  return node != nullptr && node->is_table();
}

std::map<std::string, std::string> TableReader::texts(std::string_view key) {
  std::map<std::string, std::string> out;
  const toml::node* node = find(key);
  if (node == nullptr) return out;
  if (!node->is_table())
    fail(key, fmt::format("'{}' must be a table like {{ p1 = \"/dev/vg0/data\" }}", key));
  for (const auto& [name, value] : *node->as_table())
    out[std::string(name.str())] = string_of(name.str(), value);
  return out;
}

void TableReader::tables(std::string_view key,
                         const std::function<void(const std::string&, TableReader&)>& each) {
  const toml::node* node = find(key);
  if (node == nullptr) return;
  if (!node->is_table()) fail(key, fmt::format("'{}' must be written as [{}.NAME]", key, key));
  struct Entry {
    std::string name;
    const toml::table* table;
  };
  std::vector<Entry> entries;
  for (const auto& [name, value] : *node->as_table()) {
    if (!value.is_table())
      fail_at(value.source(),
              fmt::format("'{}' must be a table, [{}.{}]", name.str(), key, name.str()));
    entries.push_back({std::string(name.str()), value.as_table()});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.table->source().begin.line < b.table->source().begin.line;
  });
  const std::string prefix =
      where_.empty() ? std::string{} : where_.substr(1, where_.size() - 2) + ".";
  for (const Entry& entry : entries) {
    TableReader reader(*entry.table, fmt::format("[{}{}.{}]", prefix, key, entry.name), path_);
    each(entry.name, reader);
    reader.finish();
  }
}

std::optional<TableReader> TableReader::optional_table(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (!node->is_table()) fail(key, fmt::format("'{}' must be a table, [{}]", key, key));
  return TableReader(*node->as_table(), fmt::format("[{}]", key), path_);
}

std::size_t TableReader::word(std::string_view key, std::initializer_list<std::string_view> words) {
  const auto written = optional_text(key);
  if (!written) return 0;
  const auto found = std::find(words.begin(), words.end(), *written);
  if (found == words.end())
    fail(key, fmt::format("'{}' is \"{}\"; it must be one of {}", key, *written,
                          fmt::join(words, ", ")));
  return static_cast<std::size_t>(found - words.begin());
}

void TableReader::finish() {
  for (const auto& [key, node] : table_)
    if (!asked_.contains(key.str()))
      fail_at(key.source(),
              fmt::format("{}{}'{}' is not known; {}", where_, where_.empty() ? "" : " ", key.str(),
                          did_you_mean(key.str(), asked_)));
}

}  // namespace cascade
