// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/disk_window.hpp"

#include <algorithm>

namespace cascade {

Task<Result<std::span<const std::byte>>> DiskWindow::at(std::uint64_t offset, std::size_t bytes,
                                                        std::uint64_t end) {
  using Bytes = Result<std::span<const std::byte>>;
  if (const auto here = at_hand(offset, bytes)) co_return Bytes(*here);
  if (!buffer_) buffer_.emplace(size_);
  const std::uint64_t following = end > offset ? end - offset : 0;
  const auto wanted = std::max<std::size_t>(bytes, std::min<std::uint64_t>(ahead_, following));
  held_ = 0;
  if (auto read = co_await disk_.read(offset, buffer_->span().first(wanted)); !read)
    co_return read.error();
  offset_ = offset;
  held_ = wanted;
  co_return Bytes(buffer_->span().first(bytes));
}

std::optional<std::span<const std::byte>> DiskWindow::at_hand(std::uint64_t offset,
                                                              std::size_t bytes) const {
  if (offset < offset_ || offset - offset_ > held_ || bytes > held_ - (offset - offset_))
    return std::nullopt;
  return buffer_->span().subspan(offset - offset_, bytes);
}

void DiskWindow::drop() {
  buffer_.reset();
  held_ = 0;
}

}  // namespace cascade
