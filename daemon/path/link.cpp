// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/link.hpp"

#include "daemon/path/backoff.hpp"
#include "daemon/report/log.hpp"
#include "lib/base/checksum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace cascade {

using report::Level;

namespace {

// So often a packet is sent again by TCP in vain, in a second or two, before it is called lost for
// its size: one that the network merely dropped gets through before.
constexpr unsigned resent_max = 3;

}  // namespace

Link::Link(const Executor& executor, Clock& clock, Net& net, const SessionTimes& times,
           std::string node, const Uuid& group, std::string subject, const NodeConfig& peer,
           Feed& feed)
    : executor_(executor),
      clock_(clock),
      net_(net),
      times_(times),
      node_(std::move(node)),
      group_(group),
      subject_(std::move(subject)),
      peer_(peer),
      feed_(feed),
      backoff_timer_(clock.timer()) {
  status_.peer = peer.name;
  status_.downstream = true;
  status_.reason = "has not connected yet";
}

void Link::compress(Codec codec, Worker& worker) {
  if (codec == Codec::none) return;
  status_.codec = codec;
  packer_ = std::make_unique<Packer>(codec);
  worker_ = &worker;
}

Task<> Link::run() {
  Backoff backoff(times_.reconnect_min, times_.reconnect_max);
  while (!stopping_) {
    if (feed_.streams().empty()) {
      feed_.end();
      status_.reason = "no volume to replicate yet";
      co_await feed_.wait_for_streams();
      continue;
    }
    status_.connecting = true;
    feed_.link_state(LinkState::connecting);
    const TimePoint began = clock_.now();
    at_once_ = false;
    const Error why = co_await connect_and_serve();
    feed_.end();
    status_.connected = status_.connecting = false;
    status_.renewing = at_once_;
    feed_.link_state(LinkState::down);
    if (stopping_) break;
    // A session that ends to begin anew with other streams is no news.
    if (!at_once_) report(why);
    // One that a peer ends as soon as it is welcome does not make the next one come sooner.
    if (clock_.now() - began >= times_.reconnect_max) backoff.reset();
    if (at_once_) continue;
    co_await backoff_timer_->sleep(backoff.next());
  }
}

void Link::stop() {
  stopping_ = true;
  backoff_timer_->cancel();
  if (session_ != nullptr) end(*session_, Error{Errc::closed, "this daemon is stopping"});
  feed_.wake();
}

/// One line a change, not one a try.
void Link::report(const Error& why) {
  if (why.text == status_.reason) return;
  status_.reason = why.text;
  report::log(Level::warning, subject_,
              fmt::format("no session with {}: {}", peer_.name, why.text));
}

/// Small packets arrive, or there would be no connection; what fills a packet does not.
void Link::look_at_loss(const Session& s) {
  const auto transit = s.stream->transit();
  if (!transit) return;
  if (transit->resent >= resent_max)
    status_.loss = fmt::format(
        "what is sent to {} does not arrive, though it answers: packets of {} bytes were sent {} "
        "times in vain; the path takes only smaller ones",
        peer_.name, transit->packet, transit->resent + 1);
  else if (s.sent_data && !transit->under_way)
    status_.loss.clear();
}

Task<Error> Link::connect_and_serve() {
  auto stream = co_await net_.connect(peer_.address, connect_time_max);
  if (!stream) co_return stream.error();
  if (stopping_) co_return Error{Errc::closed, "this daemon is stopping"};
  status_.congestion.clear();
  if (!congestion_control_.empty())
    if (auto set = (*stream)->set_congestion_control(congestion_control_); !set)
      status_.congestion = set.error().text;
  Session s(executor_, clock_, std::move(*stream), times_.silence_max);
  session_ = &s;
  s.crew.add(s.watch.run());
  if (auto ready = co_await shake_hands(s); !ready) {
    end(s, ready.error());
  } else {
    status_.connected = true;
    status_.connecting = status_.renewing = false;
    status_.sessions += 1;
    feed_.link_state(LinkState::up);
    report::log(status_.lines, clock_.now(), Level::notice, subject_,
                fmt::format("session with {} established", peer_.name));
    s.crew.add(send_frames(s));
    s.crew.add(read_frames(s));
    s.crew.add(beat(s));
  }
  co_await s.crew.join();
  session_ = nullptr;
  at_once_ = s.at_once;
  co_return s.why;
}

/// Wakes everything that belongs to the session, so that join() comes to an end.
void Link::end(Session& s, Error why) {
  if (s.ended) return;
  s.ended = true;
  if (s.watch.quiet() < 2 * times_.heartbeat) look_at_loss(s);
  s.why = s.watch.expired()
              ? Error{Errc::closed, fmt::format("{} was silent for too long", peer_.name)}
              : std::move(why);
  s.watch.stop();
  s.beat_timer->cancel();
  s.stream->close();
  feed_.wake();
}

// ---- hello

Task<Result<void>> Link::shake_hands(Session& s) {
  Hello hello{group_, node_, feed_.kind(), feed_.streams(), feed_.journal()};
  hello.takes_reports = true;
  hello.takes_verified = true;
  const Bytes frame = encode_hello(hello, feed_.tally());
  const std::array buffers{asio::const_buffer(frame.data(), frame.size())};
  if (auto sent = co_await s.stream->write(buffers); !sent) co_return sent.error();
  const std::string address = s.stream->peer();
  auto welcome = co_await read_welcome(s.reader, s.body, peer_.name, address);
  if (!welcome) co_return welcome.error();
  s.takes_packed = welcome->takes_packed;
  auto begun = co_await feed_.begin(*welcome);
  // The peer would only see the connection close.
  if (!begun && begun.error().code != Errc::closed) co_await send_refusal(*s.stream, begun.error());
  co_return begun;
}

// ---- out

Task<> Link::send_frames(Session& s) {
  while (!s.ended) {
    auto sent = co_await send_next(s);
    if (!sent) {
      end(s, sent.error());
      co_return;
    }
    if (!*sent && !s.ended) co_await feed_.wait();
  }
}

/// Whether anything was sent.
Task<Result<bool>> Link::send_next(Session& s) {
  auto out = co_await feed_.next();
  if (!out) {
    s.at_once = !s.ended && out.error().code == Errc::closed;
    co_return out.error();
  }
  if (s.ended) co_return Error{Errc::closed, "the session has ended"};
  const bool asks = feed_.has_asks();
  if (asks) {
    if (auto sent = co_await send_asks(s); !sent) co_return sent.error();
  }
  if (*out) {
    if (auto sent = co_await send_data(s, **out); !sent) co_return sent.error();
    co_return true;
  }
  if (!s.beat_due && feed_.tally() == s.tally_told) co_return asks;
  if (auto sent = co_await send_heartbeat(s); !sent) co_return sent.error();
  co_return true;
}

Task<Result<void>> Link::send_data(Session& s, const Outgoing& out) {
  FrameHeader header;
  s.buffers.assign(1, asio::const_buffer(&header, sizeof header));
  std::size_t count = 0, bytes = 0;
  std::uint32_t crc = 0;
  for (const Piece& piece : out.pieces) {
    const auto records = std::as_bytes(piece.records);
    s.buffers.emplace_back(records.data(), records.size());
    crc = crc32c(records, crc);
    count += piece.records.size();
    bytes += records.size() + piece.payload.size();
  }
  for (const Piece& piece : out.pieces)
    s.buffers.emplace_back(piece.payload.data(), piece.payload.size());
  status_.unpacked_bytes += sizeof header + bytes;
  auto type = FrameType::data;
  if (packer_ && s.takes_packed && packer_->worth_trying()) {
    const auto packed = co_await pack(s);
    if (!packed.empty()) {
      type = FrameType::packed;
      bytes = packed.size();
      crc = crc32c(packed);
      s.buffers.resize(1);
      s.buffers.emplace_back(packed.data(), packed.size());
    }
  }
  s.tally_told = feed_.tally();
  header = make_header(type, static_cast<std::uint32_t>(bytes), static_cast<std::uint32_t>(count),
                       s.tally_told, crc);
  feed_.sending(sizeof header + bytes);
  const TimePoint began = clock_.now();
  auto sent = co_await s.stream->write(s.buffers);
  status_.send_latency.add(clock_.now() - began, count);
  status_.sent_bytes += sizeof header + bytes;
  s.beat_due = false;
  s.sent_data = true;
  co_return sent;
}

/// Beside this thread: it takes milliseconds, and writers wait for their acknowledgements.
Task<std::span<const std::byte>> Link::pack(Session& s) {
  std::vector<std::span<const std::byte>> parts;
  for (const auto& buffer : std::span(s.buffers).subspan(1))
    parts.emplace_back(static_cast<const std::byte*>(buffer.data()), buffer.size());
  std::span<const std::byte> packed;
  // Named, for g++ 12.
  const std::function<void()> job = [&] { packed = packer_->pack(parts); };
  co_await worker_->run(job);
  co_return packed;
}

Task<Result<void>> Link::send_heartbeat(Session& s) {
  s.beat_due = false;
  s.tally_told = feed_.tally();
  const Bytes frame = encode_heartbeat(s.tally_told);
  const std::array buffers{asio::const_buffer(frame.data(), frame.size())};
  status_.sent_bytes += frame.size();
  co_return co_await s.stream->write(buffers);
}

Task<Result<void>> Link::send_asks(Session& s) {
  const std::vector<Ask> asks = feed_.asks();
  const Bytes frame = encode_asks(asks, feed_.tally());
  const std::array buffers{asio::const_buffer(frame.data(), frame.size())};
  status_.sent_bytes += frame.size();
  co_return co_await s.stream->write(buffers);
}

Task<> Link::beat(Session& s) {
  while (!s.ended) {
    co_await s.beat_timer->sleep(times_.heartbeat);
    if (s.ended) co_return;
    if (s.watch.quiet() < 2 * times_.heartbeat) look_at_loss(s);
    // A session that lasts is well, whatever ended the one before.
    if (clock_.now() - s.began >= times_.silence_max) status_.reason.clear();
    s.beat_due = true;
    feed_.wake();
  }
}

// ---- in

Task<> Link::read_frames(Session& s) {
  while (!s.ended) {
    auto outcome = co_await read_frame(s);
    if (!outcome) end(s, outcome.error());
  }
}

Task<Result<void>> Link::read_frame(Session& s) {
  auto header = co_await s.reader.header();
  if (!header) co_return header.error();
  s.body.resize(header->length);
  if (auto got = co_await s.reader.body(s.body); !got) co_return got.error();
  status_.received_bytes += sizeof(FrameHeader) + header->length;
  if (auto ok = feed_.told(header->tally); !ok) co_return ok;
  switch (static_cast<FrameType>(header->type)) {
    case FrameType::ack:
      if (auto acks = decode_acks(*header, s.body, s.acks); !acks) co_return acks;
      co_return feed_.acked(s.acks);
    case FrameType::heartbeat:
      co_return Result<void>{};
    case FrameType::report: {
      const auto report = decode_report(*header, s.body);
      if (!report) co_return report.error();
      feed_.reported(*report);
      co_return Result<void>{};
    }
    case FrameType::sums: {
      const auto sums = decode_sums(*header, s.body);
      if (!sums) co_return sums.error();
      co_return feed_.answered(*sums);
    }
    case FrameType::verified: {
      auto found = decode_verified(*header, s.body);
      if (!found) co_return found.error();
      feed_.verified(std::move(*found));
      co_return Result<void>{};
    }
    case FrameType::refuse:
      co_return decode_refusal(*header, s.body);
    default:
      co_return Error{Errc::invalid,
                      fmt::format("a frame of type {} does not belong here", header->type)};
  }
}

}  // namespace cascade
