// SPDX-License-Identifier: GPL-2.0-or-later
#include "tools/table.hpp"

#include <libsmartcols.h>

#include <cstdlib>

namespace cascade {

std::string render_table(const std::vector<std::string>& columns,
                         const std::vector<std::vector<std::string>>& rows) {
  libscols_table* table = scols_new_table();
  for (const std::string& column : columns) {
    const bool right = column.starts_with('>');
    scols_table_new_column(table, column.c_str() + (right ? 1 : 0), 0,
                           right ? SCOLS_FL_RIGHT : SCOLS_FL_NOEXTREMES);
  }
  for (const auto& row : rows) {
    libscols_line* line = scols_table_new_line(table, nullptr);
    for (std::size_t i = 0; i < row.size(); ++i) scols_line_set_data(line, i, row[i].c_str());
  }
  char* text = nullptr;
  scols_print_table_to_string(table, &text);
  std::string out = text == nullptr ? std::string{} : std::string(text) + "\n";
  std::free(text);
  scols_unref_table(table);
  return out;
}

}  // namespace cascade
