// SPDX-License-Identifier: GPL-2.0-or-later
//
// Within lib/dm: one request to device-mapper, through libdevmapper, which keeps what it says in
// one place for the whole process: whoever may not be alone holds task_mutex().
#pragma once

#include "lib/base/result.hpp"

#include <libdevmapper.h>

#include <memory>
#include <mutex>
#include <string>

namespace cascade::dm {

struct DestroyTask {
  void operator()(dm_task* task) const { dm_task_destroy(task); }
};
using TaskPtr = std::unique_ptr<dm_task, DestroyTask>;

/// Of a type of libdevmapper's, DM_DEVICE_...; null without memory.
TaskPtr make_task(int type, const std::string& name);

/// Runs a task that changes nodes in /dev, and waits for udev, or does its work where there is
/// none. `udev_flags`: DM_UDEV_...
bool run_with_udev(dm_task* task, std::uint16_t udev_flags = 0);

/// What libdevmapper said last; empty: nothing.
const std::string& last_task_message();

/// Of the task that has just failed.
Error failure(const std::string& name, const char* what);

std::mutex& task_mutex();

}  // namespace cascade::dm
