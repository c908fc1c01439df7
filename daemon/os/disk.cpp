// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/os/disk.hpp"

#include "daemon/os/thread_call.hpp"
#include "lib/base/file_lock.hpp"
#include "lib/block/identity.hpp"
#include "lib/dm/drill.hpp"

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/thread_pool.hpp>

#include <fmt/format.h>
#include <libaio.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cascade::os {
namespace {

// Requests that one group has under way at the kernel: the applier's widest burst and the journal's
// writes; what comes beyond that waits here. The machine has 65536 for all (fs.aio-max-nr).
constexpr int requests_max = 256;

// Punching or zeroing can take long on some devices: never on the group's own thread.
constexpr std::size_t slow_threads = 2;

// Bytes at once: what else wants the device, or a thread, gets its turn; and a daemon that is told
// to stop does not wait for a whole volume.
constexpr std::uint64_t zero_slice = 4 << 20;
constexpr std::size_t zero_alignment = 4096;

using Handler = asio::async_result<asio::use_awaitable_t<Executor>, void(int)>::handler_type;

/// A set of requests submitted together; lives in the waiting coroutine's frame.
struct Burst {
  std::vector<iocb> requests;
  std::size_t submitted = 0;
  std::size_t left = 0;
  int error = 0;
  std::optional<Handler> waiter;

  void finish_one(const iocb& request, long result) {
    if (result < 0 && error == 0) error = static_cast<int>(-result);
    if (result >= 0 && static_cast<std::size_t>(result) != request.u.c.nbytes && error == 0)
      error = EIO;  // short: the end of the device, or a full file system
    if (--left == 0) resume();
  }

  void resume() {
    auto executor = asio::get_associated_executor(*waiter);
    asio::post(executor, [handler = std::move(*waiter), error = error]() mutable {
      std::move(handler)(error);
    });
  }
};

class Aio;

/// A device or file that was opened, and what it said then.
struct Opened {
  int fd = -1;
  std::uint64_t bytes = 0;
  std::uint32_t block = 0;
  std::string through = {};  // what was opened instead: see dm::drill_origin_over(); empty: nothing
};
Result<Opened> open_for_direct_io(const std::string& path, bool exclusive, int how = O_RDWR);

class AioDisk final : public Disk {
 public:
  AioDisk(Aio& aio, const Opened& opened, std::string path, bool exclusive)
      : aio_(aio),
        fd_(opened.fd),
        path_(std::move(path)),
        bytes_(opened.bytes),
        block_(opened.block),
        exclusive_(exclusive),
        through_(opened.through) {}
  ~AioDisk() override { ::close(fd_); }

  const std::string& path() const override { return path_; }
  std::string identity() const override { return device_identity(path_); }
  std::uint64_t bytes() const override { return bytes_; }
  std::uint64_t bytes_now() const override;
  std::uint32_t block() const override { return block_; }
  Task<Result<void>> read(std::uint64_t offset, std::span<std::byte> out) override;
  Task<Result<void>> write(std::span<const DiskWrite> writes) override;
  Task<Result<void>> write_durable(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<Result<void>> zero(std::uint64_t offset, std::uint64_t bytes, bool unmap) override;
  Task<Result<void>> flush() override;
  Result<void> reopen() override;
  Result<void> step_aside() override;
  std::optional<DiskDrill> drill() const override;

 private:
  Result<void> let_go();
  Result<void> take(const Opened& opened);
  Result<void> outcome(const char* what, std::uint64_t offset, int error) const;
  // 0 or an errno:
  Task<int> zero_some(std::uint64_t offset, std::uint64_t bytes, bool unmap);
  Task<int> zero_by(int mode, std::uint64_t offset, std::uint64_t bytes);
  Task<int> write_zeroes(std::uint64_t offset, std::uint64_t bytes);

  Aio& aio_;
  int fd_;
  std::string path_;
  std::uint64_t bytes_;
  std::uint32_t block_;
  bool exclusive_;
  std::string through_;  // what a drill has put over it, and is open instead; empty: nothing
  bool can_punch_ = true;
  bool can_zero_ = true;
  bool aside_ = false;  // what is open has no claim, and is to be read only
};

class Aio final : public AioContext {
 public:
  explicit Aio(asio::io_context& io) : event_(io), slow_(slow_threads) {}
  ~Aio() override {
    slow_.join();
    if (context_ != nullptr) io_destroy(context_);
  }

  /// At the first disk, and again if it fails.
  Result<void> start() {
    if (crew_) return {};
    if (const int rc = context_ == nullptr ? io_setup(requests_max, &context_) : 0; rc < 0)
      return Error{Errc::io, fmt::format("cannot set up asynchronous I/O: {}; raise fs.aio-max-nr",
                                         std::strerror(-rc))};
    const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
      return Error{Errc::io, fmt::format("cannot set up asynchronous I/O: {}; raise LimitNOFILE",
                                         std::strerror(errno))};
    event_.assign(fd);
    crew_.emplace(event_.get_executor());
    crew_->add(reap());
    return {};
  }

  void close() override {
    boost::system::error_code ignored;
    event_.close(ignored);
  }

  Result<std::unique_ptr<Disk>> open(const std::string& path, bool exclusive) override;

  /// Submits everything and waits for all of it. Returns 0 or the first errno.
  Task<int> run(Burst& burst) {
    burst.left = burst.requests.size();
    co_return co_await asio::async_initiate<const asio::use_awaitable_t<Executor>&, void(int)>(
        [this, &burst](auto handler) {
          burst.waiter.emplace(std::move(handler));
          waiting_.push_back(&burst);
          submit();
        },
        use_task);
  }

  /// Runs a blocking call on a thread of its own; returns 0 or an errno.
  template <class Call>
  Task<int> run_slow(Call call) {
    // Named, for g++ 12; see thread_call.hpp.
    auto error_of = [call] { return call() < 0 ? errno : 0; };
    co_return co_await run_on<int>(slow_, std::move(error_of));
  }

  void prepare(iocb& request, Burst& burst) {
    io_set_eventfd(&request, event_.native_handle());
    request.data = &burst;
  }

 private:
  /// As much of what waits, in its order, as may be under way.
  void submit() {
    while (!waiting_.empty()) {
      Burst& burst = *waiting_.front();
      const int rc = submit_some(burst);
      // Something of ours is under way, and makes room when it comes back.
      if (rc == 0 || (rc == -EAGAIN && under_way_ > 0)) return;
      if (rc < 0) fail_rest(burst, rc);
      if (rc > 0) under_way_ += rc;
      if (burst.submitted == burst.requests.size()) waiting_.pop_front();
      if (rc < 0 && burst.left == 0) burst.resume();
    }
  }

  /// How many requests the kernel has taken, or a negative errno.
  int submit_some(Burst& burst) {
    std::array<iocb*, 64> pointers;
    const std::size_t room = static_cast<std::size_t>(requests_max - under_way_);
    const std::size_t n =
        std::min({pointers.size(), burst.requests.size() - burst.submitted, room});
    if (n == 0) return 0;
    for (std::size_t i = 0; i < n; ++i) pointers[i] = &burst.requests[burst.submitted + i];
    const int rc = io_submit(context_, static_cast<long>(n), pointers.data());
    if (rc > 0) burst.submitted += static_cast<std::size_t>(rc);
    return rc == 0 ? -EIO : rc;
  }

  /// What could not be submitted has failed; what was submitted still has to come back.
  static void fail_rest(Burst& burst, int rc) {
    if (burst.error == 0) burst.error = -rc;
    burst.left -= burst.requests.size() - burst.submitted;
    burst.submitted = burst.requests.size();
  }

  void collect() {
    std::array<io_event, 64> events;
    timespec no_wait{0, 0};
    for (;;) {
      const int n = io_getevents(context_, 0, events.size(), events.data(), &no_wait);
      if (n <= 0) return;
      under_way_ -= n;
      for (int i = 0; i < n; ++i) {
        const io_event& event = events[static_cast<std::size_t>(i)];
        static_cast<Burst*>(event.data)->finish_one(*event.obj, static_cast<long>(event.res));
      }
      if (static_cast<std::size_t>(n) < events.size()) return;
    }
  }

  Task<> reap() {
    std::uint64_t count;
    for (;;) {
      auto [ec, n] = co_await event_.async_read_some(asio::buffer(&count, sizeof count), use_tuple);
      if (ec) co_return;
      collect();
      submit();
    }
  }

  asio::posix::basic_stream_descriptor<Executor> event_;
  asio::thread_pool slow_;
  io_context_t context_ = nullptr;
  std::deque<Burst*> waiting_;
  int under_way_ = 0;
  std::optional<Crew> crew_;
};

Result<std::uint64_t> size_of(int fd, const std::string& path) {
  struct stat st;
  std::uint64_t bytes = 0;
  if (::fstat(fd, &st) < 0)
    return Error{Errc::io, fmt::format("{}: {}", path, std::strerror(errno))};
  if (S_ISREG(st.st_mode)) return static_cast<std::uint64_t>(st.st_size);
  if (!S_ISBLK(st.st_mode))
    return Error{Errc::invalid, fmt::format("{}: neither a block device nor a file", path)};
  if (::ioctl(fd, BLKGETSIZE64, &bytes) < 0)
    return Error{Errc::io, fmt::format("{}: {}", path, std::strerror(errno))};
  return bytes;
}

/// Of a block device its logical block; of a file what its file system wants for direct I/O.
std::uint32_t block_of(int fd) {
  int bytes = 0;
  if (::ioctl(fd, BLKSSZGET, &bytes) == 0 && bytes > 0) return static_cast<std::uint32_t>(bytes);
  struct statx st;
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 &&
      (st.stx_mask & STATX_DIOALIGN) != 0 && st.stx_dio_offset_align > 0)
    return st.stx_dio_offset_align;
  return 512;
}

bool is_block_device(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISBLK(st.st_mode);
}

Error cannot_open(const std::string& path, int error) {
  const char* advice = error == EBUSY    ? "; it is mounted or otherwise in use"
                       : error == ENOENT ? "; create it, or correct the configuration"
                       : error == EINVAL ? "; the file system must support direct I/O"
                       : error == EROFS  ? "; the unit lets dmcascaded write below "
                                           "/var/lib/dmcascade, and where ReadWritePaths= says"
                                         : "";
  return Error{error == ENOENT ? Errc::not_found : Errc::io,
               fmt::format("cannot open {}: {}{}", path, std::strerror(error), advice)};
}

/// Whoever owns a device writes it through what a drill has put over it.
Result<Opened> open_for_direct_io(const std::string& path, bool exclusive, int how) {
  const std::string through =
      exclusive && is_block_device(path) ? dm::drill_origin_over(path) : std::string();
  if (!through.empty()) {
    auto opened = open_for_direct_io(through, true, how);
    if (opened) opened->through = through;
    return opened;
  }

  // O_EXCL without O_CREAT means "not in use" for a block device, and nothing for a file.
  const int flags = how | O_DIRECT | O_CLOEXEC | (exclusive && is_block_device(path) ? O_EXCL : 0);
  const int fd = ::open(path.c_str(), flags);
  if (fd < 0) return cannot_open(path, errno);
  auto bytes = size_of(fd, path);
  if (!bytes) {
    ::close(fd);
    return bytes.error();
  }
  if (exclusive && !is_block_device(path))
    if (auto locked = lock_file(fd, path); !locked) {
      ::close(fd);
      return locked.error();
    }
  return Opened{fd, *bytes, block_of(fd)};
}

Result<std::unique_ptr<Disk>> Aio::open(const std::string& path, bool exclusive) {
  if (auto ready = start(); !ready) return ready.error();
  const auto opened = open_for_direct_io(path, exclusive);
  if (!opened) return opened.error();
  return std::make_unique<AioDisk>(*this, *opened, path, exclusive);
}

std::uint64_t AioDisk::bytes_now() const {
  const auto bytes = size_of(fd_, path_);
  return bytes ? *bytes : 0;
}

Result<void> AioDisk::outcome(const char* what, std::uint64_t offset, int error) const {
  if (error == 0) return {};
  return Error{Errc::io,
               fmt::format("{}: {} at byte {}: {}", path_, what, offset, std::strerror(error))};
}

Task<Result<void>> AioDisk::read(std::uint64_t offset, std::span<std::byte> out) {
  Burst burst;
  burst.requests.resize(1);
  io_prep_pread(&burst.requests[0], fd_, out.data(), out.size(), static_cast<long long>(offset));
  aio_.prepare(burst.requests[0], burst);
  co_return outcome("read", offset, co_await aio_.run(burst));
}

Task<Result<void>> AioDisk::write(std::span<const DiskWrite> writes) {
  if (writes.empty()) co_return Result<void>{};
  Burst burst;
  burst.requests.resize(writes.size());
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const DiskWrite& w = writes[i];
    io_prep_pwrite(&burst.requests[i], fd_, const_cast<std::byte*>(w.data.data()), w.data.size(),
                   static_cast<long long>(w.offset));
    aio_.prepare(burst.requests[i], burst);
  }
  co_return outcome("write", writes.front().offset, co_await aio_.run(burst));
}

Task<Result<void>> AioDisk::write_durable(std::uint64_t offset, std::span<const std::byte> data) {
  Burst burst;
  burst.requests.resize(1);
  io_prep_pwrite(&burst.requests[0], fd_, const_cast<std::byte*>(data.data()), data.size(),
                 static_cast<long long>(offset));
  burst.requests[0].aio_rw_flags = RWF_DSYNC;
  aio_.prepare(burst.requests[0], burst);
  co_return outcome("durable write", offset, co_await aio_.run(burst));
}

Task<Result<void>> AioDisk::zero(std::uint64_t offset, std::uint64_t bytes, bool unmap) {
  while (bytes > 0) {
    const std::uint64_t n = std::min(bytes, zero_slice - offset % zero_slice);
    if (const int error = co_await zero_some(offset, n, unmap); error != 0)
      co_return outcome("zero", offset, error);
    offset += n;
    bytes -= n;
  }
  co_return Result<void>{};
}

/// What the device or file system can't do is not asked for again, until it is opened anew.
Task<int> AioDisk::zero_some(std::uint64_t offset, std::uint64_t bytes, bool unmap) {
  int error = EOPNOTSUPP;
  if (unmap && can_punch_) {
    error = co_await zero_by(FALLOC_FL_PUNCH_HOLE, offset, bytes);
    can_punch_ = error != EOPNOTSUPP;
  }
  if (error == EOPNOTSUPP && can_zero_) {
    error = co_await zero_by(FALLOC_FL_ZERO_RANGE, offset, bytes);
    can_zero_ = error != EOPNOTSUPP;
  }
  if (error == EOPNOTSUPP) error = co_await write_zeroes(offset, bytes);
  co_return error;
}

Task<int> AioDisk::zero_by(int mode, std::uint64_t offset, std::uint64_t bytes) {
  const int fd = fd_;
  co_return co_await aio_.run_slow([=] {
    return ::fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(bytes));
  });
}

Task<int> AioDisk::write_zeroes(std::uint64_t offset, std::uint64_t bytes) {
  void* const zeroes = std::aligned_alloc(zero_alignment, zero_slice);
  if (zeroes == nullptr) co_return ENOMEM;
  const std::unique_ptr<void, decltype(&std::free)> owner(zeroes, &std::free);
  std::memset(zeroes, 0, bytes);
  Burst burst;
  burst.requests.resize(1);
  io_prep_pwrite(&burst.requests[0], fd_, zeroes, bytes, static_cast<long long>(offset));
  aio_.prepare(burst.requests[0], burst);
  co_return co_await aio_.run(burst);
}

Result<void> AioDisk::reopen() {
  if (!aside_)
    if (auto gone = let_go(); !gone) return gone;
  const auto opened = open_for_direct_io(path_, exclusive_);
  if (!opened) return opened.error();
  aside_ = false;
  can_punch_ = can_zero_ = true;
  return take(*opened);
}

Result<void> AioDisk::step_aside() {
  const auto opened = open_for_direct_io(path_, false, O_RDONLY);
  if (!opened) return opened.error();
  aside_ = true;
  return take(*opened);
}

/// The number stays: requests that wait have it. Nothing can be read or written through it now, and
/// the device is not in use any more when it is opened.
Result<void> AioDisk::let_go() {
  const int nothing = ::open("/", O_PATH | O_CLOEXEC);
  if (nothing < 0 || ::dup3(nothing, fd_, O_CLOEXEC) < 0) {
    const int error = errno;
    if (nothing >= 0) ::close(nothing);
    return cannot_open(path_, error);
  }
  ::close(nothing);
  return {};
}

/// In place of what was open.
Result<void> AioDisk::take(const Opened& opened) {
  const int moved = ::dup3(opened.fd, fd_, O_CLOEXEC);
  const int error = errno;
  ::close(opened.fd);
  if (moved < 0) return cannot_open(path_, error);
  bytes_ = opened.bytes;
  block_ = opened.block;
  through_ = opened.through;
  return {};
}

std::optional<DiskDrill> AioDisk::drill() const {
  if (through_.empty()) return std::nullopt;
  const auto image = dm::drill_image_over(path_);
  DiskDrill gone;
  gone.broken = true;
  if (!image) return gone;
  return DiskDrill{image->path,       image->point.seq,   image->point.time_ns,
                   image->used_bytes, image->space_bytes, image->broken};
}

Task<Result<void>> AioDisk::flush() {
  const int fd = fd_;
  const int error = co_await aio_.run_slow([fd] { return ::fdatasync(fd); });
  co_return outcome("flush", 0, error);
}

}  // namespace

std::unique_ptr<AioContext> AioContext::create(asio::io_context& io) {
  return std::make_unique<Aio>(io);
}

}  // namespace cascade::os
