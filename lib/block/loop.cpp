// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/block/loop.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace cascade {
namespace {

/// A descriptor that is closed at the end.
struct File {
  explicit File(int f) : fd(f) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

// Somebody else may have taken the free device that was named.
constexpr int tries = 20;

Error cannot(const std::string& what, int error) {
  const Errc code = error == ENOENT ? Errc::not_found : error == ENOSPC ? Errc::full : Errc::io;
  return Error{code, fmt::format("{}: {}", what, std::strerror(error))};
}

}  // namespace

Result<LoopDevice> LoopDevice::make(const std::string& folder, std::uint64_t bytes) {
  const File file(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file.fd < 0) return cannot(folder, errno);
  if (const int error = ::posix_fallocate(file.fd, 0, static_cast<off_t>(bytes)); error != 0)
    return cannot(fmt::format("{}: cannot reserve {} bytes", folder, bytes), error);
  const File control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (control.fd < 0) return cannot("/dev/loop-control (modprobe loop)", errno);
  int error = EBUSY;
  for (int i = 0; i < tries && error == EBUSY; ++i) {
    const int number = ::ioctl(control.fd, LOOP_CTL_GET_FREE);
    if (number < 0) return cannot("no loop device is free", errno);
    const std::string path = fmt::format("/dev/loop{}", number);
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return cannot(path, errno);
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(file.fd);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (::ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
      // Past the page cache, where the file system can.
      (void)::ioctl(fd, LOOP_SET_DIRECT_IO, 1UL);
      return LoopDevice(fd, path);
    }
    error = errno;
    ::close(fd);
  }
  return cannot("cannot set a loop device up", error);
}

LoopDevice::~LoopDevice() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace cascade
