// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/journal/format_device.hpp"

#include "lib/base/file_lock.hpp"

#include <blkid/blkid.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cascade {
namespace {

Error io_error(const std::string& path, const char* what) {
  return Error{Errc::io, fmt::format("{}: {}: {}", path, what, std::strerror(errno))};
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

Result<File> open_device(const std::string& path, const std::optional<std::uint64_t>& file_bytes) {
  struct stat st;
  const bool there = ::stat(path.c_str(), &st) == 0;
  if (!there && !file_bytes)
    return Error{Errc::not_found,
                 fmt::format("{} does not exist; give --size to make a file", path)};
  if (there && !S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
    return Error{Errc::invalid, fmt::format("{}: neither a block device nor a file", path)};
  const bool device = there && S_ISBLK(st.st_mode);
  File file(::open(path.c_str(), O_RDWR | O_CLOEXEC | (device ? O_EXCL : O_CREAT), 0600));
  if (file.fd() < 0 && errno == EBUSY)
    return Error{Errc::refused, fmt::format("{} is in use (mounted, or by the daemon); stop that "
                                            "first",
                                            path)};
  if (file.fd() < 0) return io_error(path, "open");
  if (!device)
    if (auto locked = lock_file(file.fd(), path); !locked) return locked.error();
  if (!device && file_bytes)
    if (const int error = ::posix_fallocate(file.fd(), 0, static_cast<off_t>(*file_bytes))) {
      errno = error;
      return io_error(path, "cannot reserve the space");
    }
  return file;
}

Result<std::uint64_t> size_of(const File& file, const std::string& path) {
  struct stat st;
  if (::fstat(file.fd(), &st) < 0) return io_error(path, "stat");
  std::uint64_t bytes = static_cast<std::uint64_t>(st.st_size);
  if (S_ISBLK(st.st_mode) && ::ioctl(file.fd(), BLKGETSIZE64, &bytes) < 0)
    return io_error(path, "size");
  return bytes;
}

Result<void> refuse_journal(const File& file, const std::string& path) {
  std::vector<std::byte> block(superblock_bytes);
  for (const std::uint64_t generation : {0, 1}) {
    const auto offset = static_cast<off_t>(superblock_offset(generation));
    if (::pread(file.fd(), block.data(), block.size(), offset) !=
        static_cast<ssize_t>(block.size()))
      continue;
    const auto found = decode_superblock(std::span(block).first<superblock_bytes>());
    if (found)
      return Error{Errc::refused,
                   fmt::format("{} already is a journal, of group {}; --force formats "
                               "it anew and loses what it holds",
                               path, to_text(found->group))};
  }
  return {};
}

Result<void> refuse_signature(const File& file, const std::string& path) {
  std::unique_ptr<blkid_struct_probe, decltype(&blkid_free_probe)> probe(blkid_new_probe(),
                                                                         blkid_free_probe);
  if (probe == nullptr || blkid_probe_set_device(probe.get(), file.fd(), 0, 0) < 0) return {};
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_probe_enable_superblocks(probe.get(), 1);
  if (blkid_do_fullprobe(probe.get()) != 0) return {};
  const char* type = nullptr;
  if (blkid_probe_lookup_value(probe.get(), "TYPE", &type, nullptr) < 0)
    blkid_probe_lookup_value(probe.get(), "PTTYPE", &type, nullptr);
  return Error{Errc::refused, fmt::format("{} holds something ({}); --force overwrites it", path,
                                          type == nullptr ? "unknown" : type)};
}

Result<void> write_at(const File& file, const std::string& path, std::uint64_t offset,
                      std::span<const std::byte> data) {
  const auto n = ::pwrite(file.fd(), data.data(), data.size(), static_cast<off_t>(offset));
  if (n != static_cast<ssize_t>(data.size())) return io_error(path, "write");
  return {};
}

Result<void> write_all(const File& file, const std::string& path, const Superblock& sb) {
  std::vector<std::byte> block(superblock_bytes);
  const std::vector<std::byte> zero(journal_block);
  // No batch of an earlier life may stand where the first one will.
  if (auto ok = write_at(file, path, sb.data_offset, zero); !ok) return ok;
  encode_superblock(sb, std::span(block).first<superblock_bytes>());
  for (const std::uint64_t generation : {0, 1})
    if (auto ok = write_at(file, path, superblock_offset(generation), block); !ok) return ok;
  if (::fsync(file.fd()) < 0) return io_error(path, "flush");
  return {};
}

}  // namespace

Result<Superblock> format_journal(const std::string& path, const Uuid& group,
                                  std::optional<std::uint64_t> file_bytes, bool force) {
  auto file = open_device(path, file_bytes);
  if (!file) return file.error();
  auto bytes = size_of(*file, path);
  if (!bytes) return bytes.error();
  auto sb = format_superblock(group, *bytes);
  if (!sb) return Error{sb.error().code, fmt::format("{}: {}", path, sb.error().text)};
  if (!force) {
    if (auto ok = refuse_journal(*file, path); !ok) return ok.error();
    if (auto ok = refuse_signature(*file, path); !ok) return ok.error();
  }
  if (auto ok = write_all(*file, path, *sb); !ok) return ok.error();
  return sb;
}

Result<Superblock> read_journal(const std::string& path, const Uuid& group) {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) return io_error(path, "open");
  auto bytes = size_of(file, path);
  if (!bytes) return bytes.error();
  // The daemon writes past the page cache, whose content may be old.
  (void)::posix_fadvise(file.fd(), 0, 2 * superblock_bytes, POSIX_FADV_DONTNEED);
  std::vector<std::byte> block(superblock_bytes);
  const auto copy = [&](std::uint64_t generation) -> Result<Superblock> {
    const auto n = ::pread(file.fd(), block.data(), block.size(),
                           static_cast<off_t>(superblock_offset(generation)));
    if (n < 0) return io_error(path, "read");
    if (n != static_cast<ssize_t>(block.size()))
      return Error{Errc::not_found, "the device ends before the superblock"};
    return decode_superblock(std::span(block).first<superblock_bytes>());
  };
  const auto a = copy(0);
  const auto b = copy(1);
  return choose_superblock(a, b, group, *bytes, path);
}

}  // namespace cascade
