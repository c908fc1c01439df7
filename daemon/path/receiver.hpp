// SPDX-License-Identifier: GPL-2.0-or-later
//
// The receiving end of one session: frames in, acknowledgements out, until either side ends it.
// Whether it is a primary's session at the hub or the hub's at the remote is the Intake's business.
#pragma once

#include "daemon/path/copy_sums.hpp"
#include "daemon/path/frame_reader.hpp"
#include "daemon/path/intake.hpp"
#include "daemon/path/session.hpp"
#include "lib/format/pack.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace cascade {

class Receiver {
 public:
  Receiver(const Executor& executor, Clock& clock, const SessionTimes& times, std::string node,
           Journal& journal, std::unique_ptr<Stream> stream, std::unique_ptr<Intake> intake,
           LinkStatus& status);

  /// The sender may ask what the copies hold; before run().
  void answer_from(const Applier& applier) { sums_.emplace(journal_, applier); }
  /// The sender may have the copies compared if `takes`, and is told what is found; before run().
  void tell_of(const Verification& verification, bool takes) {
    verification_ = &verification;
    takes_verify_ = takes;
  }
  /// Answers the hello and serves the session to its end. The reason is left in the status.
  Task<> run(Hello hello);
  /// Ends it from outside.
  void stop(std::string reason);
  /// Why it ended, once it has.
  const std::string& reason() const { return status_.reason; }

 private:
  Task<Result<void>> welcome(const Hello& hello);
  Task<> read_frames();
  Task<Result<void>> read_frame();
  Task<Result<void>> read_refusal(const FrameHeader& header);
  Task<Result<void>> read_data(const FrameHeader& header);
  Task<Result<Incoming>> read_records(const FrameHeader& header);
  Task<Result<void>> read_asks(const FrameHeader& header);
  Task<> answer_asks();
  Task<> write_acks();
  Task<Result<void>> write_answers();
  bool verified_due() const;
  Task<Result<void>> write_verified();
  Task<Result<void>> write(const Bytes& frame);
  Task<> beat();
  bool acks_changed();
  void end(std::string reason);

  SessionTimes times_;
  Clock& clock_;
  std::string node_;
  Journal& journal_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Intake> intake_;
  LinkStatus& status_;
  SilenceWatch watch_;
  FrameReader reader_;
  std::unique_ptr<Timer> beat_timer_;
  std::unique_ptr<Timer> pause_timer_;
  Crew crew_;
  std::vector<Ack> acks_;
  std::vector<Ack> acks_sent_;
  Bytes ack_frame_;
  Bytes packed_;
  Unpacker unpacker_;
  std::optional<CopySums> sums_;  // nothing: asks are not taken
  std::deque<Ask> asks_;          // that are not answered; no more than limits::asks_max
  std::vector<Sum> answers_;      // that are not sent
  bool answering_ = false;
  const Verification* verification_ = nullptr;
  bool takes_verify_ = false;
  bool takes_verified_ = false;
  std::uint64_t verified_sent_ = 0;  // Verification::changes() then
  TimePoint verified_at_{};
  std::optional<Error> refusal_;  // to be sent, and then the session ends
  bool takes_reports_ = false;
  bool beat_due_ = false;
  bool ended_ = false;
};

}  // namespace cascade
