// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/keeper.hpp"

#include "daemon/report/log.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cascade {

using report::Level;

namespace {

// A try may read a whole journal: it takes no more than this part of the time.
constexpr int pause_per_try = 4;

}  // namespace

GroupKeeper::GroupKeeper(const GroupNode::Seams& seams, const Config& config,
                         const GroupConfig& group, std::string node)
    : seams_(seams),
      config_(config),
      group_(group),
      name_(std::move(node)),
      crew_(seams.executor),
      retry_timer_(seams.clock.timer()),
      condition_timer_(seams.clock.timer()),
      conditions_(group.name) {}

Task<> GroupKeeper::run() {
  crew_.add(watch_conditions());
  while (!stopping_) {
    const TimePoint began = seams_.clock.now();
    node_ = std::make_unique<GroupNode>(seams_, config_, group_, name_);
    co_await node_->run();
    if (stopping_) break;
    if (node_->begins_anew()) {
      node_.reset();
      continue;
    }
    note_failure();
    const Duration pause = next_pause(node_->ready(), seams_.clock.now() - began);
    node_.reset();  // whoever mends its devices needs them
    co_await retry_timer_->sleep(pause);
  }
  co_await crew_.join();
}

void GroupKeeper::stop() {
  stopping_ = true;
  if (node_) node_->stop();
  retry_timer_->cancel();
  condition_timer_->cancel();
}

/// One line a cause, not one a try.
void GroupKeeper::note_failure() {
  const Error why = node_->failure().value_or(Error{Errc::io, "it ended by itself"});
  if (node_->ready() || !failure_ || failure_->text != why.text)
    report::log(Level::error, group_.name, why.text);
  failure_ = why;
  last_ = node_->status();
}

Duration GroupKeeper::next_pause(bool was_ready, Duration took) {
  if (!was_ready) return std::max(backoff_.next(), took * pause_per_try);
  backoff_.reset();
  return backoff_.next();
}

Result<GroupNode*> GroupKeeper::node() {
  if (node_ && node_->ready()) return node_.get();
  return failure_.value_or(
      Error{Errc::refused, fmt::format("group {} is not ready on {}", group_.name, name_)});
}

void GroupKeeper::accept(std::unique_ptr<Stream> stream, Hello hello) {
  if (stopping_) return;
  const auto running = node();
  if (running)
    (*running)->accept(std::move(stream), std::move(hello));
  else
    crew_.add(turn_away(std::move(stream), running.error()));
}

// ---- how it is

/// So that each is logged when it comes and goes, whether anybody asks or not.
Task<> GroupKeeper::watch_conditions() {
  while (!stopping_) {
    (void)status();
    co_await condition_timer_->sleep(condition_interval);
  }
}

api::Group GroupKeeper::status() {
  // A try that is not through yet has not mended anything.
  api::Group out = node_ && (node_->ready() || !failure_) ? node_->status() : last_;
  out.conditions = find_conditions(
      out,
      {group_.journal_warning_percent, std::chrono::duration<double>(group_.lag_warning).count()});
  conditions_.update(out.conditions, seams_.clock.realtime_ns());
  return out;
}

}  // namespace cascade
