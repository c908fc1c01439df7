// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/journal_feed.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {
namespace {

// Under a limit a frame is what may be sent in this time, so that a link is used evenly.
constexpr std::chrono::milliseconds limited_interval{125};
// It may be another one by then.
constexpr Duration limited_look = std::chrono::seconds(1);
constexpr std::size_t limited_bytes_min = 4096;

}  // namespace

JournalFeed::JournalFeed(const GroupConfig& group, Clock& clock, Journal& journal)
    : group_(group),
      clock_(clock),
      journal_(journal),
      reader_(journal),
      pace_timer_(clock.timer()) {
  journal_.on_sealed([this](const BatchInfo& batch) { backlog_.add(batch, clock_.boottime()); });
}

/// Only the wall clock says how old it is; from now on no clock that somebody sets counts.
void JournalFeed::recovered(const BatchInfo& batch) {
  const std::uint64_t now = clock_.realtime_ns();
  const std::chrono::nanoseconds age(now > batch.append_time_ns ? now - batch.append_time_ns : 0);
  backlog_.add(batch, clock_.boottime(), age);
}

/// Last group_seq that may be shipped now.
std::uint64_t JournalFeed::through() const {
  const bool early = group_.ship == ShipWhen::received;
  return early ? journal_.sealed_seq() : journal_.stored_seq();
}

std::uint64_t JournalFeed::tally() const { return journal_.stored_seq(); }

std::vector<Hello::Stream> JournalFeed::streams() {
  if (journal_.failure() || held_back_) return {};
  renew_ = false;
  std::vector<Hello::Stream> out{{group_.uuid, journal_.first_seq(), through()}};
  if (journal_.behind().map != 0) {
    out.front().gap = true;
    out.front().history = journal_.tail_history();
  }
  const auto volumes = describe_ ? describe_() : std::vector<Hello::Stream>{};
  out.insert(out.end(), volumes.begin(), volumes.end());
  return out;
}

void JournalFeed::renew() {
  renew_ = true;
  wake();
}

Task<Result<void>> JournalFeed::begin(const Welcome& welcome) {
  if (held_back_) co_return Error{Errc::closed, "the remote is being replaced"};
  if (welcome.streams.empty() || welcome.streams.front().ack.stream != group_.uuid)
    co_return Error{Errc::refused, "the remote answers for another group"};
  for (const Answer& answer : welcome.streams)
    if (answer.refusal) co_return *answer.refusal;
  if (welcome.rejoins && is_another(welcome)) co_return rejoin(welcome);
  const Ack ack = welcome.streams.front().ack;
  if (welcome.streams.front().gap && journal_.behind().map == 0)
    co_return Error{Errc::refused,
                    "the remote waits for copies of what it lacks, of which this hub knows "
                    "nothing; see BEGINNING ANEW in dmcascade(8)"};
  const bool behind = ack.received + 1 < journal_.first_seq();
  if ((behind && journal_.behind().map == 0) || ack.received > through())
    co_return Error{Errc::refused,
                    fmt::format("the remote wants to go on after write {}, our journal holds {} to "
                                "{}",
                                ack.received, journal_.first_seq(), through())};
  if (auto same = same_journal(welcome); !same) co_return same;
  if (journal_.behind().map != 0)
    if (auto same = same_as_known(welcome); !same) co_return same;
  if (!behind) {
    if (auto same = co_await same_history(welcome); !same) co_return same;
  }
  journal_.set_follower(welcome.journal);
  next_seq_ = behind ? journal_.first_seq() : ack.received + 1;
  current_.reset();
  up_ = true;
  answers_asks_ = welcome.answers_asks;
  verifies_ = welcome.verifies;
  sessions_ += 1;
  lacks_ = behind || welcome.streams.front().gap;
  co_return acked(std::span(&ack, 1));
}

void JournalFeed::end() {
  up_ = false;
  questions_.clear();
  current_.reset();
  frame_.clear();
  journal_.progress().notify();
}

void JournalFeed::hold_back() {
  held_back_ = true;
  renew();
}

void JournalFeed::forget_remote() {
  remote_received_ = remote_stored_ = 0;
  report_.reset();
  held_back_ = false;
  wake();
}

void JournalFeed::caught_up() {
  lacks_ = false;
  note_arrived();
}

/// Before the first write of the group any journal is as good as another.
bool JournalFeed::is_another(const Welcome& welcome) const {
  const bool known = journal_.follower() != Uuid{} && journal_.received_seq() > 0;
  return known && journal_.follower() != welcome.journal;
}

/// As told there.
Error JournalFeed::rejoin(const Welcome& welcome) {
  if (rejoin_) rejoin_();
  return Error{Errc::refused,
               fmt::format("{} has given up what it held, and is compared with the hub once no "
                           "bracket is open here",
                           welcome.node)};
}

/// I5, P7: the remote goes on only if it holds what we hold, not merely as much.
Result<void> JournalFeed::same_journal(const Welcome& welcome) const {
  if (is_another(welcome))
    return Error{
        Errc::refused,
        fmt::format("{}'s journal {} is not the {} that followed this hub: it was made "
                    "anew or exchanged; see BEGINNING ANEW in dmcascade(8)",
                    welcome.node, short_text(welcome.journal), short_text(journal_.follower()))};
  return {};
}

/// Of one that is behind: between what it once acknowledged and the first write that is still here
/// its journal's id has to do, the hashes are gone. With less than it acknowledged it can't go on
/// even where the journal holds that: copies that it had are not made again.
Result<void> JournalFeed::same_as_known(const Welcome& welcome) const {
  const Answer& answer = welcome.streams.front();
  const RemoteBehind& known = journal_.behind();
  if (answer.ack.received < std::max(known.seq, remote_stored_) ||
      (answer.ack.received == known.seq && answer.history != known.history))
    return Error{
        Errc::refused,
        fmt::format("{} holds writes through {} with hash {:016x}, it once had {}, and {} with "
                    "{:016x}: its journal was restored; see BEGINNING ANEW in dmcascade(8)",
                    welcome.node, answer.ack.received, answer.history,
                    std::max(known.seq, remote_stored_), known.seq, known.history)};
  return {};
}

Task<Result<void>> JournalFeed::same_history(const Welcome& welcome) const {
  const Answer& answer = welcome.streams.front();
  const auto ours = co_await journal_.history_at(answer.ack.received);
  if (!ours) co_return ours.error();
  if (*ours != answer.history)
    co_return Error{
        Errc::refused,
        fmt::format("{} holds another history: at write {} its hash is {:016x}, ours {:016x}; one "
                    "journal was restored or made anew; see BEGINNING ANEW in dmcascade(8)",
                    welcome.node, answer.ack.received, answer.history, *ours)};
  co_return Result<void>{};
}

/// A frame is filled from batch after batch, as long as nothing has to be waited for.
Task<Result<std::optional<Outgoing>>> JournalFeed::next() {
  using Answer = Result<std::optional<Outgoing>>;
  if (renew_) co_return Error{Errc::closed, "the volumes have changed"};
  if (next_seq_ > through() || !may_send()) co_return Answer(std::nullopt);
  frame_.clear();
  frame_records_ = frame_bytes_ = 0;
  do {
    if (auto found = co_await find_next(); !found) co_return found.error();
  } while (add_slice() && frame_.size() < Outgoing::pieces_max && next_seq_ <= through() &&
           reader_.at_hand(next_seq_));
  co_return Answer(Outgoing{frame_});
}

/// What the link is spared by compression may be used.
void JournalFeed::sending(std::size_t bytes) {
  if (limit_) not_before_ = clock_.now() + std::chrono::microseconds(bytes * 1'000'000 / *limit_);
}

Rate JournalFeed::rate() const {
  if (!group_.ship_rate.is_limited()) return {};
  return group_.ship_rate.at(minute_of_day(clock_.realtime_ns()));
}

/// By `ship-rate`; and how much then.
bool JournalFeed::may_send() {
  const TimePoint now = clock_.now();
  const Rate limit = rate();
  // What was sent under another one does not count any more.
  if (limit != limit_) not_before_ = now;
  limit_ = limit;
  frame_bytes_max_ = limits::frame_payload_bytes_max;
  if (!limit) return true;
  frame_bytes_max_ = std::clamp<std::size_t>(*limit / (std::chrono::seconds(1) / limited_interval),
                                             limited_bytes_min, frame_bytes_max_);
  if (*limit == 0) not_before_ = now + limited_look;
  return now >= not_before_;
}

/// current_ is the batch that holds next_seq_.
Task<Result<void>> JournalFeed::find_next() {
  if (current_ && next_seq_ <= current_->last_seq()) co_return Result<void>{};
  auto batch = co_await reader_.read(next_seq_);
  // Meanwhile or before.
  if (next_seq_ < journal_.first_seq())
    co_return Error{Errc::closed, "the journal has given up what the remote still lacks"};
  note(batch);
  if (!batch) co_return batch.error();
  current_ = std::move(*batch);
  record_ = next_seq_ - current_->first_seq();
  payload_ = 0;
  for (const Record& record : current_->records().first(record_))
    payload_ += payload_bytes_of(record);
  co_return Result<void>{};
}

/// A new session may begin before what failed: that alone mends nothing.
void JournalFeed::note(const Result<BatchPtr>& read) {
  if (!read) {
    failure_ = read.error();
    failed_seq_ = next_seq_;
  } else if (next_seq_ >= failed_seq_) {
    failure_.reset();
  }
}

std::optional<Error> JournalFeed::failure() const {
  return failed_seq_ < journal_.first_seq() ? std::nullopt : failure_;
}

/// As many of current_'s records, from next_seq_ on, as fit the frame, and one in any case; whether
/// those were all.
bool JournalFeed::add_slice() {
  const auto rest = current_->records().subspan(record_);
  const std::uint64_t last = through();
  std::size_t count = 0, bytes = 0;
  while (count < rest.size() && frame_records_ + count < limits::frame_records_max &&
         next_seq_ + count <= last) {
    const std::size_t more = payload_bytes_of(rest[count]);
    const bool is_first = frame_records_ + count == 0;
    if (!is_first && frame_bytes_ + bytes + more > frame_bytes_max_) break;
    bytes += more;
    ++count;
  }
  if (count > 0)
    frame_.push_back({rest.first(count), current_->payload().subspan(payload_, bytes), current_});
  record_ += count;
  payload_ += bytes;
  next_seq_ += count;
  frame_records_ += count;
  frame_bytes_ += bytes;
  return count == rest.size();
}

Task<> JournalFeed::wait() {
  const TimePoint now = clock_.now();
  if (next_seq_ <= through() && now < not_before_)
    co_await pace_timer_->sleep(std::min(not_before_ - now, limited_look));
  else
    co_await journal_.progress().wait();
}

void JournalFeed::wake() {
  pace_timer_->cancel();
  journal_.progress().notify();
}

void JournalFeed::stop() { wake(); }

Result<void> JournalFeed::acked(std::span<const Ack> acks) {
  for (const Ack& ack : acks) {
    if (ack.stream != group_.uuid)
      return Error{Errc::refused, "the remote acknowledges writes of another group"};
    if (ack.received >= next_seq_)
      return Error{Errc::refused,
                   fmt::format("the remote acknowledges write {}, which was not sent: the last one "
                               "was {}",
                               ack.received, next_seq_ - 1)};
    remote_received_ = ack.received;
    remote_stored_ = ack.stored;
    if (!lacks_) note_arrived();
  }
  journal_.progress().notify();
  return {};
}

Result<void> JournalFeed::answered(std::span<const Sum> sums) {
  auto fits = questions_.answered(sums);
  journal_.progress().notify();
  return fits;
}

void JournalFeed::verified(Verified found) {
  if (verification_ != nullptr) verification_->learn(std::move(found));
  journal_.progress().notify();
}

void JournalFeed::note_arrived() {
  const bool on_receipt = group_.remote_ack == AckWhen::memory_sync;
  backlog_.arrived(on_receipt ? remote_received_ : remote_stored_, clock_.boottime());
}

/// This daemon may not have been there when the remote fell behind.
Backlog::Figures JournalFeed::behind() const {
  Backlog::Figures figures = backlog_.figures(clock_.boottime());
  const RemoteBehind& known = journal_.behind();
  if (known.map == 0) return figures;
  figures.writes = std::max(figures.writes, journal_.received_seq() - known.seq);
  const std::uint64_t now_ns = clock_.realtime_ns();
  if (now_ns > known.since_ns)
    figures.age_seconds =
        std::max(figures.age_seconds, static_cast<double>(now_ns - known.since_ns) / 1e9);
  return figures;
}

}  // namespace cascade
