// SPDX-License-Identifier: GPL-2.0-or-later
// What peers send to a hub and to a remote: hellos and frames of records, each right by itself,
// with numbers, ranges and volumes that need not be. Whatever is taken has to be in order and in
// range.
#include "daemon/path/mirror_intake.hpp"
#include "daemon/path/ship_intake.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/rig.hpp"

namespace cascade::fuzz {
namespace {

const Uuid& some_volume(std::uint8_t choice) {
  static const Uuid stranger = *parse_uuid("deadbeef-0000-4000-8000-000000000001");
  return choice % 8 == 7 ? stranger : choice % 2 == 0 ? test::volume_a : test::volume_b;
}

Hello some_hello(Input& in, SessionKind kind) {
  Hello hello{test::group, kind == SessionKind::ship ? "h" : "p1", kind, {}};
  const int streams = 1 + in.get<std::uint8_t>() % 4;
  for (int i = 0; i < streams; ++i) {
    Hello::Stream s;
    const bool group_itself = kind == SessionKind::ship && i == 0;
    s.uuid = group_itself ? test::group : some_volume(in.get<std::uint8_t>());
    s.last = in.number() % CASCADE_SEQ_MAX;
    s.first = s.last + 1 - std::min(s.last, in.number());
    s.fresh = in.get<std::uint8_t>() % 2 == 0;
    s.leaving = in.get<std::uint8_t>() % 4 == 0;
    s.bytes = in.number();
    s.block = in.get<std::uint8_t>() % 2 == 0 ? 512 : 4096;
    s.hub_ack = in.get<std::uint8_t>() % 3;
    s.out_of_sync = in.get<std::uint8_t>() % 4 == 0 ? in.number() : 0;
    hello.streams.push_back(s);
  }
  return hello;
}

Incoming some_frame(Input& in, const Journal& journal) {
  std::vector<Record> records;
  const int count = 1 + in.get<std::uint8_t>() % 6;
  for (int i = 0; i < count; ++i) {
    static constexpr std::uint8_t ops[] = {CASCADE_OP_DISCARD, CASCADE_OP_WRITE_ZEROES,
                                           CASCADE_OP_NOOP, CASCADE_OP_FLUSH};
    const std::uint8_t op = ops[in.get<std::uint8_t>() % 4];
    const bool range = op == CASCADE_OP_DISCARD || op == CASCADE_OP_WRITE_ZEROES;
    Record r = test::make_record(1 + in.number(), {}, in.number() % CASCADE_SEQ_MAX,
                                 some_volume(in.get<std::uint8_t>()), op,
                                 range ? 512 * (1 + in.get<std::uint16_t>()) : 0);
    if (in.get<std::uint8_t>() % 4 == 0) r.flags = CASCADE_FLAG_RESYNC;
    // Near what is wanted next, or anything.
    const std::uint64_t seq =
        in.get<std::uint8_t>() % 4 == 0
            ? in.number()
            : journal.next_seq() + static_cast<std::uint64_t>(i) + in.get<std::uint8_t>() % 2;
    set_group_seq(r, seq % CASCADE_SEQ_MAX);
    if (check_record(r)) records.push_back(r);
  }
  if (records.empty())
    records.push_back(test::make_record(1, {}, 0, test::volume_a, CASCADE_OP_NOOP));
  return make_incoming(records, {});
}

void try_session(Rig& rig, Intake& intake, Input& in, SessionKind kind) {
  if (!intake.open(some_hello(in, kind), [](const std::string&) {})) return;
  while (!in.empty()) {
    const auto before = rig.journal().received_seq();
    const auto action = in.get<std::uint8_t>();
    if (action % 8 == 0)
      intake.told(in.number());
    else if (action % 8 == 1)
      rig.world.settle();
    else if (!intake.take(some_frame(in, rig.journal())))
      break;
    require(rig.journal().received_seq() >= before);
    std::vector<Ack> acks;
    intake.acks(acks);
    for (const Ack& ack : acks) require(ack.stored <= ack.received);
  }
  rig.world.settle();
  intake.close();
}

}  // namespace
}  // namespace cascade::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cascade;
  fuzz::Input in(data, size);
  fuzz::Rig rig;
  if (in.get<std::uint8_t>() % 2 == 0) {
    MirrorVolumes volumes(rig.group, rig.journal(), rig.world.clock);
    volumes.load([](const Uuid&) { return CopyShape{fuzz::copy_bytes, 512}; });
    MirrorIntake intake(volumes, "10.0.0.1");
    fuzz::try_session(rig, intake, in, SessionKind::mirror);
  } else {
    ShipState state{rig.group, rig.journal(), {{test::volume_a, {fuzz::copy_bytes, 512}}}};
    ShipIntake intake(state);
    fuzz::try_session(rig, intake, in, SessionKind::ship);
  }
  rig.check_journal();
  return 0;
}
