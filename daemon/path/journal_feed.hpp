// SPDX-License-Identifier: GPL-2.0-or-later
//
// The source of a shipper: a cursor over the group's journal, and what the remote has said.
#pragma once

#include "daemon/path/backlog.hpp"
#include "daemon/path/feed.hpp"
#include "daemon/path/journal_reader.hpp"
#include "daemon/path/questions.hpp"
#include "daemon/path/verification.hpp"
#include "lib/config/config.hpp"

#include <functional>
#include <optional>
#include <vector>

namespace cascade {

class JournalFeed final : public Feed {
 public:
  JournalFeed(const GroupConfig& group, Clock& clock, Journal& journal);

  /// Batches found at opening; those sealed later are noticed by themselves.
  void recovered(const BatchInfo& batch);

  /// Gives what a hello says of the group's volumes; asked for each session.
  void describe_with(std::function<std::vector<Hello::Stream>()> describe) {
    describe_ = std::move(describe);
  }
  /// `heard` is called when a remote comes that has given up what it held, and is not the one that
  /// is known: it has to be replaced.
  void on_rejoin(std::function<void()> heard) { rejoin_ = std::move(heard); }
  /// Where to put what the remote finds by comparing its copies.
  void note_in(Verification& verification) { verification_ = &verification; }
  /// The remote that was here last, if any, takes what is to be compared.
  bool verifies() const { return verifies_; }
  /// What `describe` says has changed: begin a new session.
  void renew();

  /// What the remote has, by its last word, on stable storage; the journal is kept from there on.
  std::uint64_t remote_stored() const { return remote_stored_; }
  std::uint64_t remote_received() const { return remote_received_; }
  /// There is a session.
  bool up() const { return up_; }
  /// There is one, and its remote waits for copies of what it was not sent.
  bool lacks() const { return up_ && lacks_; }
  /// What the remote's copies hold, of this session; null: it can't be asked.
  Questions* questions() { return up_ && answers_asks_ ? &questions_ : nullptr; }
  /// Grows with each session: what was asked before is not answered any more.
  std::uint64_t sessions() const { return sessions_; }
  /// No session begins until forget_remote(); one that is under way ends.
  void hold_back();
  bool holds_back() const { return held_back_; }
  /// There is none, and none begins.
  bool held_back() const { return held_back_ && !up_; }
  /// Nothing that a remote has said counts any more.
  void forget_remote();
  /// The remote lacks nothing any more.
  void caught_up();
  /// By the acknowledgement that `remote-ack` asks for; what a remote was not sent has not arrived
  /// before it has caught up.
  Backlog::Figures behind() const;
  /// From a write's place in the journal until the remote had acknowledged it, likewise.
  const LatencyHistogram& latency() const { return backlog_.latency(); }
  /// How the remote was when it last said so; nothing: it has not, since this daemon began.
  const std::optional<Report>& report() const { return report_; }
  /// Why the journal does not give what comes next, until it does or has given that up.
  std::optional<Error> failure() const;
  /// What may be sent in a second now, by the configuration and the time of the day.
  Rate rate() const;
  void stop();

  SessionKind kind() const override { return SessionKind::ship; }
  Task<> wait_for_streams() override { return wait(); }
  std::vector<Hello::Stream> streams() override;
  Uuid journal() const override { return journal_.id(); }
  Task<Result<void>> begin(const Welcome& welcome) override;
  void end() override;
  Task<Result<std::optional<Outgoing>>> next() override;
  void sending(std::size_t bytes) override;
  Task<> wait() override;
  void wake() override;
  Result<void> acked(std::span<const Ack> acks) override;
  bool has_asks() const override { return questions_.to_send(); }
  std::vector<Ask> asks() override { return questions_.send(); }
  Result<void> answered(std::span<const Sum> sums) override;
  void verified(Verified found) override;
  void reported(const Report& report) override { report_ = report; }
  Result<void> told(std::uint64_t) override { return {}; }
  std::uint64_t tally() const override;
  void link_state(LinkState) override {}

 private:
  std::uint64_t through() const;
  void note_arrived();
  bool is_another(const Welcome& welcome) const;
  Error rejoin(const Welcome& welcome);
  Result<void> same_journal(const Welcome& welcome) const;
  Result<void> same_as_known(const Welcome& welcome) const;
  Task<Result<void>> same_history(const Welcome& welcome) const;
  Task<Result<void>> find_next();
  void note(const Result<BatchPtr>& read);
  bool add_slice();
  bool may_send();

  const GroupConfig& group_;
  Clock& clock_;
  Journal& journal_;
  Backlog backlog_;
  JournalReader reader_;
  BatchPtr current_;
  std::vector<Piece> frame_;
  std::size_t frame_records_ = 0;
  std::size_t frame_bytes_ = 0;      // of payload
  std::size_t frame_bytes_max_ = 0;  // likewise
  Rate limit_{};                     // at the last frame
  TimePoint not_before_{};           // the next frame, by that
  std::unique_ptr<Timer> pace_timer_;
  std::uint64_t next_seq_ = 1;
  // Where next_seq_ is in current_.
  std::size_t record_ = 0;
  std::size_t payload_ = 0;
  std::function<std::vector<Hello::Stream>()> describe_;
  bool renew_ = false;
  bool up_ = false;
  bool held_back_ = false;
  bool lacks_ = false;
  std::function<void()> rejoin_;
  bool answers_asks_ = false;
  bool verifies_ = true;
  Verification* verification_ = nullptr;
  Questions questions_;
  std::uint64_t sessions_ = 0;
  std::uint64_t remote_received_ = 0;
  std::uint64_t remote_stored_ = 0;
  std::optional<Report> report_;
  std::optional<Error> failure_;
  std::uint64_t failed_seq_ = 0;  // the write that could not be read
};

}  // namespace cascade
