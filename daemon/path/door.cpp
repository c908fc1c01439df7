// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/door.hpp"

#include "daemon/path/frame_reader.hpp"
#include "daemon/path/session.hpp"
#include "daemon/report/log.hpp"

namespace cascade {
namespace {

constexpr std::chrono::seconds hello_time_max{5};

// A machine out of descriptors is asked again after this; whoever wants in waits meanwhile.
constexpr std::chrono::milliseconds accept_pause{500};

}  // namespace

Door::Door(const Executor& executor, Clock& clock, std::set<std::string> known, HandOver hand_over)
    : executor_(executor),
      clock_(clock),
      strangers_(std::move(known)),
      hand_over_(std::move(hand_over)),
      crew_(executor) {}

Task<> Door::run(Listener& listener) {
  const auto pause = clock_.timer();
  for (;;) {
    auto stream = co_await listener.accept();
    if (stream) {
      strangers_.make_room();
      crew_.add(introduce(std::move(*stream)));
      continue;
    }
    if (stream.error().code == Errc::closed) break;
    trouble_ = stream.error();
    troubled_until_ = clock_.now() + 2 * accept_pause;
    co_await pause->sleep(accept_pause);
  }
  co_await crew_.join();
}

/// Nobody who comes in says that all is well: that nothing has failed for some time does.
std::optional<Error> Door::trouble() const {
  return clock_.now() < troubled_until_ ? trouble_ : std::nullopt;
}

Task<> Door::introduce(std::unique_ptr<Stream> stream) {
  const auto place = strangers_.enter(*stream);
  SilenceWatch watch(clock_, *stream, hello_time_max);
  Crew crew(executor_);
  crew.add(watch.run());
  auto hello = co_await read_hello(*stream);
  watch.stop();
  co_await crew.join();
  strangers_.leave(place);
  const std::string peer = stream->peer();
  const Result<void> taken = hello ? hand_over_(stream, *hello) : hello.error();
  if (taken) co_return;
  report::log(report::Level::warning, peer, taken.error().text);
  if (taken.error().code != Errc::closed) co_await send_refusal(*stream, taken.error());
  stream->close();
}

Task<Result<Hello>> Door::read_hello(Stream& stream) {
  FrameReader reader(stream);
  auto header = co_await reader.header();
  if (!header) co_return header.error();
  if (static_cast<FrameType>(header->type) != FrameType::hello)
    co_return Error{Errc::invalid, "a session begins with a hello"};
  Bytes body(header->length);
  if (auto got = co_await reader.body(body); !got) co_return got.error();
  co_return decode_hello(*header, body);
}

}  // namespace cascade
