// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/format/content_sum.hpp"

#include <xxhash.h>

namespace cascade {

ContentSum content_sum(std::span<const std::byte> content) {
  const XXH128_hash_t hash = XXH3_128bits(content.data(), content.size());
  return {hash.low64, hash.high64};
}

}  // namespace cascade
