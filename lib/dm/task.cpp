// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/dm/task.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include <unistd.h>

namespace cascade::dm {
namespace {

std::string last_message;

void keep_message(int level, const char*, int, int, const char* format, ...) {
  if ((level & 0x7) > 4) return;  // errors and warnings only
  char line[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(line, sizeof line, format, args);
  va_end(args);
  last_message = line;
}

bool have_udev() { return ::access("/run/udev/control", F_OK) == 0; }

}  // namespace

TaskPtr make_task(int type, const std::string& name) {
  dm_log_with_errno_init(keep_message);
  last_message.clear();
  TaskPtr task(dm_task_create(type));
  if (task != nullptr) dm_task_set_name(task.get(), name.c_str());
  return task;
}

bool run_with_udev(dm_task* task, std::uint16_t udev_flags) {
  dm_udev_set_sync_support(have_udev() ? 1 : 0);
  std::uint32_t cookie = 0;
  const bool synced = have_udev() && dm_task_set_cookie(task, &cookie, udev_flags) != 0;
  const bool done = dm_task_run(task) != 0;
  if (synced) dm_udev_wait(cookie);
  dm_task_update_nodes();
  return done;
}

const std::string& last_task_message() { return last_message; }

Error failure(const std::string& name, const char* what) {
  const int error = errno;
  std::string text = last_message.empty() ? std::strerror(error) : last_message;
  if (error == EBUSY) text = "it is in use (mounted or open); stop that first";
  return Error{Errc::refused, fmt::format("{}: cannot {}: {}", name, what, text)};
}

std::mutex& task_mutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace cascade::dm
