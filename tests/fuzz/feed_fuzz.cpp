// SPDX-License-Identifier: GPL-2.0-or-later
// A remote's answers into the shipper's feed: whatever it says, the hub gives up nothing that it
// has not sent, and does not fall over its own journal.
#include "daemon/path/journal_feed.hpp"
#include "tests/fuzz/rig.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cascade;
  fuzz::Input in(data, size);
  fuzz::Rig rig;
  JournalFeed feed(rig.group, rig.world.clock, rig.journal());
  for (std::uint64_t i = 1; i <= 4; ++i)
    rig.journal().append(test::one_write(i, 512, rig.journal().next_seq()));
  rig.world.settle();
  std::uint64_t sent = 0;
  while (!in.empty()) {
    switch (in.get<std::uint8_t>() % 5) {
      case 0: {
        Answer answer{
            {in.get<std::uint8_t>() % 8 == 0 ? test::volume_a : test::group, in.number(), 0}};
        answer.ack.stored = std::min(answer.ack.received, in.number());
        const auto right = rig.world.get(
            rig.journal().history_at(std::min(answer.ack.received, rig.journal().sealed_seq())));
        answer.history = in.get<std::uint8_t>() % 4 == 0 || !right ? in.number() : *right;
        Welcome welcome{"r", {answer}, in.get<std::uint8_t>() % 8 == 0 ? test::group : Uuid{}};
        if (!rig.world.get(feed.begin(welcome))) return 0;
        sent = answer.ack.received;
        break;
      }
      case 1: {
        const auto out = rig.world.get(feed.next());
        fuzz::require(static_cast<bool>(out));
        if (*out) sent = group_seq_of((*out)->pieces.back().records.back());
        break;
      }
      case 2: {
        Ack ack{test::group, in.number(), 0};
        ack.stored = std::min(ack.received, in.number());
        if (!feed.acked(std::span(&ack, 1))) return 0;
        break;
      }
      case 3:
        if (!rig.journal().crowded())
          rig.journal().append(test::one_write(1 + in.number(), 512, rig.journal().next_seq()));
        rig.world.settle();
        break;
      case 4:
        fuzz::require(static_cast<bool>(rig.world.get(
            rig.journal().checkpoint(feed.remote_stored(), feed.remote_stored() + 1))));
        break;
    }
    fuzz::require(feed.remote_stored() <= feed.remote_received() && feed.remote_received() <= sent);
  }
  return 0;
}
