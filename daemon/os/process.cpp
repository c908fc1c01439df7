// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/os/process.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57  // since Linux 5.6
#endif

namespace cascade::os {
namespace {

std::string failure(const char* what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

bool set_oom_score() {
  std::FILE* file = std::fopen("/proc/self/oom_score_adj", "w");
  if (file == nullptr) return false;
  const bool written = std::fputs("-1000", file) >= 0;
  return std::fclose(file) == 0 && written;
}

// Batches come and go by the megabyte: keep them in the heap rather than map and unmap each.
void keep_memory() {
  mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024);
  mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
}

/// As many as the machine lets us have: sessions, devices and event loops take one each.
bool raise_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return false;
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

}  // namespace

std::vector<std::string> harden_process() {
  std::vector<std::string> not_done;
  keep_memory();
  if (!raise_descriptors()) not_done.push_back(failure("RLIMIT_NOFILE"));
  if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
    not_done.push_back(failure("mlockall"));
  if (::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0) not_done.push_back(failure("PR_SET_IO_FLUSHER"));
  if (!set_oom_score()) not_done.push_back(failure("oom_score_adj"));
  return not_done;
}

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) < 0) return {};
  return name;
}

}  // namespace cascade::os
