// SPDX-License-Identifier: GPL-2.0-or-later
//
// The source of a shipper: a cursor over the group's journal, and what the remote has said.
#pragma once

#include "daemon/path/backlog.hpp"
#include "daemon/path/feed.hpp"
#include "daemon/path/journal.hpp"
#include "lib/config/config.hpp"

#include <functional>

namespace cascade {

class JournalFeed final : public Feed {
 public:
  JournalFeed(const GroupConfig& group, Journal& journal);

  /// Batches found at opening; those sealed later are noticed by themselves.
  void recovered(const BatchInfo& batch) { backlog_.add(batch); }

  /// Gives what a hello says of the group's volumes; asked for each session.
  void describe_with(std::function<std::vector<Hello::Stream>()> describe) {
    describe_ = std::move(describe);
  }
  /// What `describe` says has changed: begin a new session.
  void renew();

  /// What the remote has, by its last word, on stable storage; the journal is kept from there on.
  std::uint64_t remote_stored() const { return remote_stored_; }
  std::uint64_t remote_received() const { return remote_received_; }
  /// By the acknowledgement that `remote-ack` asks for.
  Backlog::Figures behind(std::uint64_t now_ns) { return backlog_.figures(now_ns); }
  void stop();

  SessionKind kind() const override { return SessionKind::ship; }
  Task<> wait_for_streams() override { return wait(); }
  std::vector<Hello::Stream> streams() override;
  Uuid journal() const override { return journal_.id(); }
  Task<Result<void>> begin(const Welcome& welcome) override;
  void end() override { current_.reset(); }
  Task<Result<std::optional<Outgoing>>> next() override;
  Task<> wait() override;
  void wake() override;
  Result<void> acked(std::span<const Ack> acks) override;
  Result<void> told(std::uint64_t) override { return {}; }
  std::uint64_t tally() const override;
  void link_state(LinkState) override {}

 private:
  std::uint64_t through() const;
  Result<void> same_journal(const Welcome& welcome) const;
  Result<void> same_as_known(const Welcome& welcome) const;
  Task<Result<void>> same_history(const Welcome& welcome) const;
  Outgoing slice(const BatchPtr& batch);

  const GroupConfig& group_;
  Journal& journal_;
  Backlog backlog_;
  BatchPtr current_;
  std::uint64_t next_seq_ = 1;
  // Where next_seq_ is in current_.
  std::size_t record_ = 0;
  std::size_t payload_ = 0;
  std::function<std::vector<Hello::Stream>()> describe_;
  bool renew_ = false;
  std::uint64_t remote_received_ = 0;
  std::uint64_t remote_stored_ = 0;
};

}  // namespace cascade
