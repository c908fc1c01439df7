// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/block/block_file.hpp"

#include "lib/base/file_lock.hpp"

#include <blkid/blkid.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cascade {

BlockFile::BlockFile(BlockFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), bytes_(other.bytes_) {}

BlockFile::~BlockFile() {
  if (fd_ >= 0) ::close(fd_);
}

Error BlockFile::failed(const char* what) const {
  return Error{errno == ENOENT ? Errc::not_found : Errc::io,
               fmt::format("{}: {}: {}", path_, what, std::strerror(errno))};
}

Result<BlockFile> BlockFile::open(const std::string& path,
                                  const std::optional<std::uint64_t>& file_bytes) {
  struct stat st;
  const bool there = ::stat(path.c_str(), &st) == 0;
  if (!there && !file_bytes)
    return Error{Errc::not_found,
                 fmt::format("{} does not exist; give --size to make a file", path)};
  if (there && !S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
    return Error{Errc::invalid, fmt::format("{}: neither a block device nor a file", path)};
  const bool device = there && S_ISBLK(st.st_mode);
  BlockFile file(::open(path.c_str(), O_RDWR | O_CLOEXEC | (device ? O_EXCL : O_CREAT), 0600),
                 path);
  if (file.fd_ < 0 && errno == EBUSY)
    return Error{Errc::refused, fmt::format("{} is in use (mounted, mapped, or by the daemon); "
                                            "stop that first",
                                            path)};
  if (file.fd_ < 0) return file.failed("open");
  if (!device)
    if (auto locked = lock_file(file.fd_, path); !locked) return locked.error();
  if (!device && file_bytes)
    if (const int error = ::posix_fallocate(file.fd_, 0, static_cast<off_t>(*file_bytes))) {
      errno = error;
      return file.failed("cannot reserve the space");
    }
  if (auto ok = file.measure(); !ok) return ok.error();
  return file;
}

Result<BlockFile> BlockFile::look(const std::string& path) {
  BlockFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC), path);
  if (file.fd_ < 0) return file.failed("open");
  if (auto ok = file.measure(); !ok) return ok.error();
  return file;
}

Result<void> BlockFile::measure() {
  struct stat st;
  if (::fstat(fd_, &st) < 0) return failed("stat");
  bytes_ = static_cast<std::uint64_t>(st.st_size);
  if (S_ISBLK(st.st_mode) && ::ioctl(fd_, BLKGETSIZE64, &bytes_) < 0) return failed("size");
  return {};
}

Result<void> BlockFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  (void)::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(out.size()),
                        POSIX_FADV_DONTNEED);
  const auto n = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
  if (n < 0) return failed("read");
  if (n != static_cast<ssize_t>(out.size()))
    return Error{Errc::not_found,
                 fmt::format("{}: it ends before byte {}", path_, offset + out.size())};
  return {};
}

Result<void> BlockFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  const auto n = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
  if (n != static_cast<ssize_t>(data.size())) return failed("write");
  return {};
}

Result<void> BlockFile::flush() {
  if (::fsync(fd_) < 0) return failed("flush");
  return {};
}

Result<void> BlockFile::refuse_signature(const std::string& so) const {
  std::unique_ptr<blkid_struct_probe, decltype(&blkid_free_probe)> probe(blkid_new_probe(),
                                                                         blkid_free_probe);
  if (probe == nullptr || blkid_probe_set_device(probe.get(), fd_, 0, 0) < 0) return {};
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_probe_enable_superblocks(probe.get(), 1);
  if (blkid_do_fullprobe(probe.get()) != 0) return {};
  const char* type = nullptr;
  if (blkid_probe_lookup_value(probe.get(), "TYPE", &type, nullptr) < 0)
    blkid_probe_lookup_value(probe.get(), "PTTYPE", &type, nullptr);
  return Error{Errc::refused, fmt::format("{} holds something ({}); {}", path_,
                                          type == nullptr ? "unknown" : type, so)};
}

}  // namespace cascade
