// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/format/history.hpp"

#include <xxhash.h>

namespace cascade {

History history_begin(const Uuid& group) { return XXH3_64bits(group.data, sizeof group.data); }

History history_after(History before, const Record& record) {
  return XXH3_64bits_withSeed(&record, sizeof record, before);
}

}  // namespace cascade
