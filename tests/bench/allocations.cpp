// SPDX-License-Identifier: GPL-2.0-or-later
//
// A file of its own: where both of a pair are inlined, g++ 12 takes one of them for the wrong one.
#include "tests/bench/allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::uint64_t> count{0};

}  // namespace

void* operator new(std::size_t bytes) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace cascade::test {

std::uint64_t allocations_until_now() { return count.load(std::memory_order_relaxed); }

}  // namespace cascade::test
