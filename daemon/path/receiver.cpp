// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/receiver.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace cascade {
namespace {

// How far comparing is, is told no more often: it is what lets a primary go on (verifier.cpp).
constexpr std::chrono::milliseconds verified_interval{100};

}  // namespace

Receiver::Receiver(const Executor& executor, Clock& clock, const SessionTimes& times,
                   std::string node, Journal& journal, std::unique_ptr<Stream> stream,
                   std::unique_ptr<Intake> intake, LinkStatus& status)
    : times_(times),
      clock_(clock),
      node_(std::move(node)),
      journal_(journal),
      stream_(std::move(stream)),
      intake_(std::move(intake)),
      status_(status),
      watch_(clock, *stream_, times.silence_max),
      reader_(*stream_, &watch_),
      beat_timer_(clock.timer()),
      pause_timer_(clock.timer()),
      crew_(executor) {}

Task<> Receiver::run(Hello hello) {
  takes_reports_ = hello.takes_reports;
  takes_verified_ = hello.takes_verified;
  if (auto welcomed = co_await welcome(hello); !welcomed) {
    end(welcomed.error().text);
    co_await send_refusal(*stream_, welcomed.error());
    stream_->close();
    co_return;
  }
  if (ended_) {  // meanwhile, by a newer session
    stream_->close();
    co_return;
  }
  status_.connected = true;
  status_.sessions += 1;
  crew_.add(read_frames());
  crew_.add(write_acks());
  crew_.add(beat());
  crew_.add(watch_.run());
  co_await crew_.join();
  intake_->close();
}

void Receiver::stop(std::string reason) { end(std::move(reason)); }

/// Wakes everything that belongs to the session, so that join() comes to an end.
void Receiver::end(std::string reason) {
  if (ended_) return;
  ended_ = true;
  status_.connected = false;
  status_.reason = watch_.expired() ? fmt::format("{} was silent for too long", status_.peer)
                                    : std::move(reason);
  watch_.stop();
  beat_timer_->cancel();
  pause_timer_->cancel();
  if (crew_.running() > 0) stream_->close();
  journal_.progress().notify();
}

Task<Result<void>> Receiver::welcome(const Hello& hello) {
  if (journal_.failure()) co_return *journal_.failure();
  auto terms = intake_->open(hello, [this](std::string why) { end(std::move(why)); });
  if (!terms) co_return terms.error();
  if (auto kept = co_await journal_.persist(); !kept) co_return kept;
  terms->node = node_;
  terms->journal = journal_.id();
  terms->takes_packed = true;
  terms->answers_asks = sums_.has_value();
  terms->rejoins = journal_.rejoins();
  terms->verifies = takes_verify_;
  const Bytes frame = encode_welcome(*terms);
  const std::array buffers{asio::const_buffer(frame.data(), frame.size())};
  co_return co_await stream_->write(buffers);
}

// ---- in

Task<> Receiver::read_frames() {
  while (!ended_) {
    const auto outcome = co_await read_frame();
    if (outcome) continue;
    // A bad frame gets an answer; a lost connection has nobody to answer to.
    if (outcome.error().code == Errc::closed) end(outcome.error().text);
    if (!ended_) refusal_ = outcome.error();
    journal_.progress().notify();
    co_return;
  }
}

Task<Result<void>> Receiver::read_frame() {
  auto header = co_await reader_.header();
  if (!header) co_return header.error();
  status_.received_bytes += sizeof(FrameHeader) + header->length;
  if (header->tally > 0) intake_->told(header->tally);
  switch (static_cast<FrameType>(header->type)) {
    case FrameType::data:
    case FrameType::packed:
      co_return co_await read_data(*header);
    case FrameType::heartbeat:
      co_return Result<void>{};
    case FrameType::refuse:
      co_return co_await read_refusal(*header);
    case FrameType::ask:
      if (sums_) co_return co_await read_asks(*header);
      [[fallthrough]];
    default:
      co_return Error{Errc::invalid,
                      fmt::format("a frame of type {} does not belong here", header->type)};
  }
}

/// The sender does not go on from where we are: its reason is ours.
Task<Result<void>> Receiver::read_refusal(const FrameHeader& header) {
  Bytes body(header.length);
  if (auto got = co_await reader_.body(body); !got) co_return got.error();
  co_return Error{Errc::closed, decode_refusal(header, body).text};
}

Task<Result<void>> Receiver::read_data(const FrameHeader& header) {
  while (journal_.crowded() && !ended_) {
    watch_.heard();  // it is we who do not read
    co_await journal_.progress().wait();
  }
  if (const Duration pause = intake_->pause(); pause > Duration{}) {
    co_await pause_timer_->sleep(pause);
    watch_.heard();
  }
  if (journal_.failure()) co_return *journal_.failure();
  auto incoming = co_await read_records(header);
  if (!incoming) co_return incoming.error();
  if (ended_) co_return Error{Errc::closed, "the session has ended"};
  co_return intake_->take(std::move(*incoming));
}

/// Records and payload in memory of their own, checked.
Task<Result<Incoming>> Receiver::read_records(const FrameHeader& header) {
  const bool packed = header.type == static_cast<std::uint16_t>(FrameType::packed);
  std::size_t bytes = header.length;
  if (packed) {
    packed_.resize(header.length);
    if (auto got = co_await reader_.body(packed_); !got) co_return got.error();
    const auto unpacked = Unpacker::bytes(header, packed_);
    if (!unpacked) co_return unpacked.error();
    bytes = *unpacked;
  }
  Incoming incoming;
  incoming.body = std::make_unique_for_overwrite<std::byte[]>(bytes);
  incoming.body_bytes = bytes;
  const std::span body(incoming.body.get(), bytes);
  if (!packed) {
    if (auto got = co_await reader_.body(body); !got) co_return got.error();
  }
  auto data = packed ? unpacker_.unpack(header, packed_, body) : decode_data(header, body);
  if (!data) co_return data.error();
  incoming.records = {reinterpret_cast<Record*>(body.data()), data->records.size()};
  incoming.payload = data->payload;
  co_return Result<Incoming>(std::move(incoming));
}

// ---- asked and answered

Task<Result<void>> Receiver::read_asks(const FrameHeader& header) {
  Bytes body(header.length);
  if (auto got = co_await reader_.body(body); !got) co_return got.error();
  const auto asks = decode_asks(header, body);
  if (!asks) co_return asks.error();
  if (asks_.size() + answers_.size() + asks->size() > limits::asks_max)
    co_return Error{Errc::refused,
                    fmt::format("more than {} parts to be compared at a time", limits::asks_max)};
  asks_.insert(asks_.end(), asks->begin(), asks->end());
  if (!answering_ && !ended_) crew_.add(answer_asks());
  answering_ = true;
  journal_.progress().notify();
  co_return Result<void>{};
}

/// One at a time: a copy that is written has better things to do.
Task<> Receiver::answer_asks() {
  while (!ended_) {
    if (asks_.empty()) {
      co_await journal_.progress().wait();
      continue;
    }
    const Ask ask = asks_.front();
    const auto sum = co_await sums_->sum_of(ask, *intake_, ended_);
    asks_.pop_front();
    answers_.push_back({ask, sum});
    journal_.progress().notify();
  }
}

Task<Result<void>> Receiver::write_answers() {
  const Bytes frame = encode_sums(answers_, intake_->tally(false));
  answers_.clear();
  co_return co_await write(frame);
}

// ---- out

bool Receiver::acks_changed() {
  intake_->acks(acks_);
  if (acks_.size() != acks_sent_.size()) return true;
  const bool receipt = intake_->acks_receipt();
  for (std::size_t i = 0; i < acks_.size(); ++i) {
    if (acks_[i].stored != acks_sent_[i].stored) return true;
    if (receipt && acks_[i].received != acks_sent_[i].received) return true;
  }
  return false;
}

/// The one writer of the session: nobody else writes to the stream while it runs.
Task<> Receiver::write_acks() {
  while (!ended_) {
    if (journal_.failure()) refusal_ = *journal_.failure();
    if (refusal_) {
      co_await send_refusal(*stream_, *refusal_);
      end(refusal_->text);
      co_return;
    }
    if (!answers_.empty()) {
      if (auto written = co_await write_answers(); !written) {
        end(written.error().text);
        co_return;
      }
    }
    if (verified_due()) {
      if (auto written = co_await write_verified(); !written) {
        end(written.error().text);
        co_return;
      }
    }
    if (!acks_changed() && !beat_due_) {
      co_await journal_.progress().wait();
      continue;
    }
    acks_sent_ = acks_;
    const bool beat = std::exchange(beat_due_, false);
    encode_acks(acks_, intake_->tally(beat), ack_frame_);
    auto written = co_await write(ack_frame_);
    const auto report = beat && takes_reports_ ? intake_->report() : std::nullopt;
    if (written && report) {
      const Bytes frame = encode_report(*report);
      written = co_await write(frame);
    }
    if (written) continue;
    end(written.error().text);
    co_return;
  }
}

bool Receiver::verified_due() const {
  return takes_verified_ && verification_ != nullptr && verification_->changes() > verified_sent_ &&
         (beat_due_ || clock_.now() - verified_at_ >= verified_interval);
}

Task<Result<void>> Receiver::write_verified() {
  Bytes frames;
  for (const auto& [key, entry] : verification_->all()) {
    if (entry.change <= verified_sent_) continue;
    const Bytes frame = encode_verified(entry.found, intake_->tally(false));
    frames.insert(frames.end(), frame.begin(), frame.end());
  }
  verified_sent_ = verification_->changes();
  verified_at_ = clock_.now();
  co_return co_await write(frames);
}

Task<Result<void>> Receiver::write(const Bytes& frame) {
  const std::array buffers{asio::const_buffer(frame.data(), frame.size())};
  status_.sent_bytes += frame.size();
  co_return co_await stream_->write(buffers);
}

Task<> Receiver::beat() {
  while (!ended_) {
    co_await beat_timer_->sleep(times_.heartbeat);
    beat_due_ = true;
    journal_.progress().notify();
  }
}

}  // namespace cascade
