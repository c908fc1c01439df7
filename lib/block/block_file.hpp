// SPDX-License-Identifier: GPL-2.0-or-later
//
// A block device, or a file that stands for one, as the commands that format and show use it:
// blocking I/O, one owner, errors that name the path.
#pragma once

#include "lib/base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace cascade {

class BlockFile {
 public:
  /// To write: nobody else may have it. A file that is not there is created with `file_bytes`.
  /// Errc::not_found, invalid (neither a device nor a file), refused (in use), io.
  static Result<BlockFile> open(const std::string& path,
                                const std::optional<std::uint64_t>& file_bytes = {});
  /// To look at, whoever has it.
  static Result<BlockFile> look(const std::string& path);

  BlockFile(BlockFile&& other) noexcept;
  BlockFile& operator=(BlockFile&&) = delete;
  ~BlockFile();

  std::uint64_t bytes() const { return bytes_; }
  /// As it stands on the device: owners write past the page cache, whose content may be old.
  /// Errc::not_found if the device ends before; io.
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) const;
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data);
  Result<void> flush();
  /// Errc::refused if it holds a signature that libblkid knows; `so` says what to do about it.
  Result<void> refuse_signature(const std::string& so) const;

 private:
  BlockFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  Result<void> measure();
  Error failed(const char* what) const;

  int fd_;
  std::string path_;
  std::uint64_t bytes_ = 0;
};

}  // namespace cascade
