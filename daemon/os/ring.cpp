// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/os/ring.hpp"

#include "daemon/os/thread_call.hpp"
#include "kmod/uapi/dm_cascade_meta.h"

#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace cascade::os {
namespace {

constexpr const char* device_path = "/dev/" CASCADE_DEVICE_NAME;

Error os_error(const std::string& what) {
  return Error{Errc::io, fmt::format("{}: {}: {}", device_path, what, std::strerror(errno))};
}

/// Memory mapped from the device; unmapped when it goes.
class Mapping {
 public:
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    for (const auto& part : parts_) ::munmap(part.at, part.bytes);
  }

  void* map(int fd, std::uint64_t offset, std::size_t bytes, int protection) {
    void* at = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
    if (at == MAP_FAILED) return nullptr;
    parts_.push_back({at, bytes});
    return at;
  }

  /// The same pages twice, back to back, so that nothing in a circle ever wraps.
  void* map_twice(int fd, std::uint64_t offset, std::size_t bytes) {
    void* room = ::mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return nullptr;
    parts_.push_back({room, 2 * bytes});
    for (std::size_t i = 0; i < 2; ++i) {
      void* half = static_cast<std::byte*>(room) + i * bytes;
      if (::mmap(half, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, static_cast<off_t>(offset)) ==
          MAP_FAILED)
        return nullptr;
    }
    return room;
  }

 private:
  struct Part {
    void* at;
    std::size_t bytes;
  };
  std::vector<Part> parts_;
};

// The ABI has room of its own: its structs never change their size.
static_assert(sizeof(cascade_attach) == 248 && offsetof(cascade_attach, published) == 112 &&
              offsetof(cascade_attach, end_seq) == 184 && offsetof(cascade_attach, parent) == 200);
static_assert(sizeof(cascade_start) == 64 && sizeof(cascade_link) == 32 &&
              sizeof(cascade_resync_run) == 32 && sizeof(cascade_lease) == 32);

class KernelRing final : public Ring {
 public:
  KernelRing(const Executor& executor, int fd, const cascade_attach& attach)
      : file_(executor, fd), attach_(attach) {}

  Result<void> map() {
    const int fd = file_.native_handle();
    const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    RingMemory memory;
    memory.slots = attach_.slots;
    memory.payload_bytes = attach_.payload_bytes;
    memory.kernel = static_cast<const cascade_kernel_words*>(
        mapping_.map(fd, attach_.kernel_words_offset, page, PROT_READ));
    memory.daemon = static_cast<cascade_daemon_words*>(
        mapping_.map(fd, attach_.daemon_words_offset, page, PROT_READ | PROT_WRITE));
    memory.payload_pos = static_cast<const std::uint64_t*>(
        mapping_.map(fd, attach_.payload_pos_offset, pages(attach_.slots * 8, page), PROT_READ));
    memory.records = static_cast<const Record*>(mapping_.map(
        fd, attach_.records_offset, pages(attach_.slots * sizeof(Record), page), PROT_READ));
    memory.payload = static_cast<const std::byte*>(
        mapping_.map_twice(fd, attach_.payload_offset, attach_.payload_bytes));
    if (memory.kernel == nullptr || memory.daemon == nullptr || memory.payload_pos == nullptr ||
        memory.records == nullptr || memory.payload == nullptr)
      return os_error("cannot map the ring");
    view_.emplace(memory);
    return {};
  }

  RingView& view() override { return *view_; }
  RingShape shape() const override {
    RingShape shape;
    shape.sectors = attach_.sectors;
    shape.block = attach_.logical_block;
    shape.hub_ack = static_cast<std::uint8_t>(attach_.hub_ack);
    std::memcpy(shape.incarnation.data, attach_.incarnation, sizeof attach_.incarnation);
    std::memcpy(shape.generation.data, attach_.generation, sizeof attach_.generation);
    std::memcpy(shape.parent.data, attach_.parent, sizeof attach_.parent);
    std::memcpy(shape.journal.data, attach_.journal, sizeof attach_.journal);
    shape.clean = (attach_.before & CASCADE_META_CLEAN) != 0;
    shape.numbered = (attach_.before & CASCADE_META_NUMBERED) != 0;
    shape.end_seq = attach_.end_seq;
    return shape;
  }
  bool started() const override { return attach_.started != 0; }

  Result<void> start(std::uint64_t base_seq, const Uuid& journal) override {
    cascade_start start{};
    start.base_seq = base_seq;
    std::memcpy(start.journal, journal.data, sizeof start.journal);
    if (::ioctl(file_.native_handle(), CASCADE_IOC_START, &start) < 0)
      return os_error("cannot start the ring");
    attach_.started = 1;
    std::memcpy(attach_.journal, journal.data, sizeof attach_.journal);
    return view_->rewind_to(base_seq);
  }

  Result<void> doorbell() override {
    if (::ioctl(file_.native_handle(), CASCADE_IOC_DOORBELL) < 0) return os_error("doorbell");
    return {};
  }

  Task<Result<void>> readable() override {
    auto [ec] = co_await file_.async_wait(File::wait_read, use_tuple);
    if (ec) co_return Error{Errc::closed, ec.message()};
    if (const short events = poll_now(); (events & (POLLERR | POLLHUP)) != 0)
      co_return why_lost(events);
    co_return Result<void>{};
  }

  Task<Error> lost() override {
    auto [ec] = co_await file_.async_wait(File::wait_error, use_tuple);
    if (ec) co_return Error{Errc::closed, ec.message()};
    co_return why_lost(poll_now());
  }

  void close() override {
    boost::system::error_code ignored;
    if (calls_ > 0)
      file_.cancel(ignored);
    else
      file_.close(ignored);
    closed_ = true;
  }

  Result<void> resync(bool run, std::uint64_t until) override {
    cascade_resync_run wanted{};
    wanted.run = run ? 1 : 0;
    wanted.until = until == no_limit ? 0 : until;
    // Nothing is compared any more.
    if (until == no_limit && calls_ == 0) slow_.reset();
    if (::ioctl(file_.native_handle(), CASCADE_IOC_RESYNC, &wanted) < 0) return os_error("resync");
    return {};
  }

  bool can_compare() const override { return (attach_.features & CASCADE_FEATURE_COMPARE) != 0; }

  Task<Result<Peeked>> peek(std::uint64_t from, std::span<std::byte> buffer) override {
    cascade_peek peek{};
    peek.from = from;
    peek.buffer = reinterpret_cast<std::uintptr_t>(buffer.data());
    const int error = co_await call_aside(CASCADE_IOC_PEEK, &peek);
    if (error == EAGAIN) co_return Peeked{Peeked::Found::later};
    errno = error;
    if (error != 0) co_return os_error("peek");
    Peeked peeked{Peeked::Found::nothing, peek.sector, peek.sector + CASCADE_META_REGION_SECTORS,
                  peek.bytes, peek.doubts};
    if (peek.bytes > 0)
      peeked.found = peek.error == 0 ? Peeked::Found::region : Peeked::Found::unreadable;
    co_return peeked;
  }

  Result<void> same(const Peeked& region) override {
    cascade_same same{};
    same.sector = region.sector;
    same.bytes = region.bytes;
    same.doubts = region.doubts;
    if (::ioctl(file_.native_handle(), CASCADE_IOC_SAME, &same) < 0) return os_error("same");
    return {};
  }

  bool can_verify() const override { return (attach_.features & CASCADE_FEATURE_VERIFY) != 0; }

  Task<Result<Verifying>> verify(std::uint64_t sector, std::uint32_t bytes,
                                 bool content) override {
    using Step = Verifying::Step;
    cascade_verify verify{};
    verify.sector = sector;
    verify.bytes = bytes;
    verify.content = content ? 1 : 0;
    const int error = co_await call_aside(CASCADE_IOC_VERIFY, &verify);
    if (error == EAGAIN) co_return Verifying{};
    errno = error;
    if (error != 0) co_return os_error("verify");
    co_return Verifying{verify.out_of_sync != 0 ? Step::out_of_sync
                        : verify.error != 0     ? Step::unreadable
                                                : Step::sent,
                        verify.seq};
  }

  Result<void> lease(Duration duration, std::uint8_t fence) override {
    cascade_lease lease{};
    lease.duration_ms = static_cast<std::uint32_t>(duration / std::chrono::milliseconds(1));
    lease.fence = fence;
    if (::ioctl(file_.native_handle(), CASCADE_IOC_LEASE, &lease) < 0) return os_error("lease");
    return {};
  }

  Result<void> alone() override {
    if (::ioctl(file_.native_handle(), CASCADE_IOC_ALONE) < 0) return os_error("alone");
    return {};
  }

  void report_link(LinkState state) override {
    cascade_link link{};
    link.state = state == LinkState::up           ? CASCADE_LINK_UP
                 : state == LinkState::connecting ? CASCADE_LINK_CONNECTING
                                                  : CASCADE_LINK_DOWN;
    (void)::ioctl(file_.native_handle(), CASCADE_IOC_LINK, &link);
  }

 private:
  using File = asio::posix::basic_stream_descriptor<Executor>;

  static std::size_t pages(std::size_t bytes, std::size_t page) {
    return (bytes + page - 1) / page * page;
  }

  /// On a thread of its own: it reads the disk. errno, or 0.
  Task<int> call_aside(unsigned long request, void* argument) {
    if (closed_) co_return EBADF;
    if (!slow_) slow_.emplace(1);
    // Named, for g++ 12; see thread_call.hpp.
    auto call = [fd = file_.native_handle(), request, argument] {
      return ::ioctl(fd, request, argument) < 0 ? errno : 0;
    };
    ++calls_;
    const int error = co_await run_on<int>(*slow_, std::move(call));
    --calls_;
    if (closed_) close();
    co_return error;
  }

  short poll_now() {
    pollfd p{file_.native_handle(), POLLIN, 0};
    return ::poll(&p, 1, 0) < 0 ? static_cast<short>(POLLERR) : p.revents;
  }

  Error why_lost(short events) const {
    if ((events & POLLHUP) != 0) return Error{Errc::not_found, "the volume was removed"};
    switch (view_ ? view_->let_go() : 0U) {
      case CASCADE_LET_GO_ALONE:
        return Error{Errc::closed, "the volume goes on alone"};
      case CASCADE_LET_GO_BROKEN:
        return Error{Errc::corrupt,
                     "the module detached this daemon: a ring word failed its check"};
      default:
        return Error{Errc::closed, "the module detached this daemon; the kernel's log says why"};
    }
  }

  File file_;
  cascade_attach attach_;
  Mapping mapping_;
  std::optional<RingView> view_;
  std::optional<asio::thread_pool> slow_;  // reads of the disk
  unsigned calls_ = 0;                     // there: the file has to stay
  bool closed_ = false;
};

Error attach_error(int error, const cascade_attach& attach) {
  switch (error) {
    case EPROTONOSUPPORT:
      return Error{Errc::version,
                   fmt::format("the loaded module has ABI {}, this daemon has {}; load the module "
                               "that came with this daemon",
                               attach.abi_version, CASCADE_ABI_VERSION)};
    case ENODEV:
      return Error{Errc::not_found, "the device does not exist; run 'dmcascade create'"};
    case EBUSY:
      return Error{Errc::refused, "another daemon is attached to it"};
    case EAGAIN:
      return Error{Errc::closed, "the volume is about to go on alone"};
    default:
      errno = error;
      return os_error("attach");
  }
}

}  // namespace

Result<std::unique_ptr<Ring>> KernelRings::attach(const Uuid& volume) {
  const int fd = ::open(device_path, O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    if (errno != ENOENT) return os_error("open");
    return Error{Errc::not_found, "the dm-cascade module is not loaded; run 'modprobe dm-cascade'"};
  }
  cascade_attach attach{};
  attach.abi_version = CASCADE_ABI_VERSION;
  std::memcpy(attach.volume, volume.data, sizeof attach.volume);
  if (::ioctl(fd, CASCADE_IOC_ATTACH, &attach) < 0) {
    const int error = errno;
    ::close(fd);
    return attach_error(error, attach);
  }
  auto ring = std::make_unique<KernelRing>(executor_, fd, attach);
  if (auto mapped = ring->map(); !mapped) return mapped.error();
  if (attach.started != 0) {
    if (auto at = ring->view().rewind_to(attach.stored); !at) return at.error();
  }
  return std::unique_ptr<Ring>(std::move(ring));
}

}  // namespace cascade::os
