// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/base/file_lock.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>

namespace cascade {

Result<void> lock_file(int fd, const std::string& path) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &whole) == 0) return {};
  if (errno == EAGAIN || errno == EACCES)
    return Error{Errc::refused, path +
                                    " is in use, by a daemon or twice in the configuration; stop "
                                    "that first"};
  return Error{Errc::io, path + ": lock: " + std::strerror(errno)};
}

}  // namespace cascade
