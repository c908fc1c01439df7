// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/path/witness.hpp"

#include "daemon/path/frame_reader.hpp"
#include "daemon/report/rfc3339.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace cascade {
namespace {

constexpr const char* late = "this petition was withdrawn";

// Of a petition's name: who made it; then a number, the highest byte first.
constexpr std::size_t maker_bytes = 8;

bool has_one_maker(const Uuid& a, const Uuid& b) {
  return std::equal(a.data, a.data + maker_bytes, b.data);
}

/// Another one by the same maker has come by now.
bool is_late(const Uuid& known, const Uuid& name) {
  return has_one_maker(known, name) && name < known;
}

Answer refuse(const Uuid& stream, std::string why) {
  Answer answer{{stream, 0, 0}};
  answer.refusal = Error{Errc::refused, std::move(why)};
  return answer;
}

Answer grant(const Uuid& stream) { return {{stream, 0, 0}}; }

/// Of a primary: each volume by itself.
Answer let_go_alone(const GroupConfig& group, Journal& journal, const std::string& node,
                    const Uuid& volume, const Uuid& from, const Uuid& name) {
  const VolumeConfig* config = group.volume(volume);
  if (config == nullptr || config->primary != node)
    return refuse(volume, fmt::format("{} is not its primary by the witness's file", node));
  Grant known = journal.grant(volume);
  if (is_late(known.petition, name) || (known.petition == name && known.alone != from))
    return refuse(volume, late);
  if (known.promotion == from)
    return refuse(volume, fmt::format("the group was let be promoted on {} at {}", group.hub,
                                      report::rfc3339(journal.granted_time_ns())));
  known.alone = from;
  known.petition = name;
  journal.set_grant(volume, known);
  return grant(volume);
}

/// Volumes that went on alone, or may, from just what a promotion would part from.
std::string gone_alone(const GroupConfig& group, const Journal& journal, const Petition& petition) {
  std::string names;
  for (const auto& [volume, from] : petition.volumes)
    if (journal.grant(volume).alone == from)
      names += (names.empty() ? "" : ", ") + group.name_of(volume);
  return names;
}

void set_promotion(Journal& journal, const Uuid& volume, const Uuid& from) {
  Grant known = journal.grant(volume);
  known.promotion = from;
  journal.set_grant(volume, known);
}

Answer let_be_promoted(const GroupConfig& group, Journal& journal, const std::string& node,
                       const Petition& petition) {
  if (node != group.hub)
    return refuse(group.uuid, fmt::format("{} is not the hub by the witness's file", node));
  if (is_late(journal.granted(), petition.name)) return refuse(group.uuid, late);
  // It was heard before: then it stands, or it was withdrawn.
  if (journal.granted() == petition.name)
    for (const auto& [volume, from] : petition.volumes)
      if (journal.grant(volume).promotion != from) return refuse(group.uuid, late);
  const std::string alone = gone_alone(group, journal, petition);
  if (!alone.empty() && !petition.forced)
    return refuse(group.uuid,
                  fmt::format("it has let {} go on alone, the last of them at {}, and what was "
                              "written there since is missing here",
                              alone, report::rfc3339(journal.granted_time_ns())));
  for (const VolumeConfig& volume : group.volumes) {
    const auto from = petition.volumes.find(volume.uuid);
    set_promotion(journal, volume.uuid, from == petition.volumes.end() ? Uuid{} : from->second);
  }
  journal.set_granted(petition.name);
  return grant(group.uuid);
}

/// Whether what `known` stands for, or came before, is over with the withdrawal of `name`: nobody
/// takes back what another maker asked for, be it only the daemon before.
bool ends(const Uuid& known, const Uuid& name) {
  return has_one_maker(known, name) && !is_late(known, name);
}

/// Nothing is granted to it any more, should it come once more.
void withdraw(const GroupConfig& group, Journal& journal, const Petition& petition) {
  if (petition.promotion) {
    if (!ends(journal.granted(), petition.name)) return;
    for (const VolumeConfig& volume : group.volumes) set_promotion(journal, volume.uuid, {});
    journal.set_granted(petition.name);
    return;
  }
  for (const auto& [volume, from] : petition.volumes) {
    Grant known = journal.grant(volume);
    if (!ends(known.petition, petition.name)) continue;
    known.alone = {};
    known.petition = petition.name;
    journal.set_grant(volume, known);
  }
}

}  // namespace

// ---- as a hello

Hello make_hello(const Uuid& group, const std::string& node, const Petition& petition) {
  Hello hello{group, node, SessionKind::petition, {}};
  Hello::Stream all{group};
  all.generation = petition.name;
  all.promotion = petition.promotion;
  all.forced = petition.forced;
  all.withdrawn = petition.withdrawn;
  hello.streams.push_back(all);
  for (const auto& [volume, generation] : petition.volumes) {
    Hello::Stream stream{volume};
    stream.generation = generation;
    hello.streams.push_back(stream);
  }
  return hello;
}

Result<Petition> petition_of(const Hello& hello) {
  const Hello::Stream& all = hello.streams.front();
  Petition petition{all.generation, all.promotion, all.forced, all.withdrawn};
  if (all.uuid != hello.group || petition.name == Uuid{})
    return Error{Errc::invalid, "a petition has no name"};
  for (const auto& stream : std::span(hello.streams).subspan(1))
    if (stream.generation == Uuid{} ||
        !petition.volumes.emplace(stream.uuid, stream.generation).second)
      return Error{Errc::invalid, fmt::format("a petition has volume {} twice, or without a "
                                              "generation",
                                              to_text(stream.uuid))};
  return petition;
}

// ---- the witness

Result<Welcome> decide(const GroupConfig& group, Journal& journal, const std::string& node,
                       const Hello& hello) {
  const auto petition = petition_of(hello);
  if (!petition) return petition.error();
  Welcome welcome{node, {}, journal.id()};
  Answer all = grant(group.uuid);
  if (petition->withdrawn)
    withdraw(group, journal, *petition);
  else if (petition->promotion)
    all = let_be_promoted(group, journal, hello.node, *petition);
  welcome.streams.push_back(all);
  // In the order of the hello.
  for (const auto& stream : std::span(hello.streams).subspan(1)) {
    if (petition->withdrawn || petition->promotion) {
      welcome.streams.push_back(all);
      welcome.streams.back().ack.stream = stream.uuid;
    } else {
      welcome.streams.push_back(
          let_go_alone(group, journal, hello.node, stream.uuid, stream.generation, petition->name));
    }
  }
  return welcome;
}

// ---- who asks

Uuid Petitioner::next_name() {
  for (std::size_t i = std::size(last_name_.data); i-- > maker_bytes;)
    if (++last_name_.data[i] != 0) break;
  return last_name_;
}

Task<Result<std::vector<Answer>>> Petitioner::ask(const Petition& petition) {
  const Hello hello = make_hello(group_, node_, petition);
  auto stream = co_await net_.connect(witness_.address, connect_time_max);
  if (!stream) co_return stream.error();
  if (stopping_) co_return Error{Errc::closed, "this daemon is stopping"};
  streams_.insert(stream->get());
  SilenceWatch watch(clock_, **stream, times_.silence_max);
  Crew crew(executor_);
  crew.add(watch.run());
  const Bytes frame = encode_hello(hello, 0);
  auto answers = co_await exchange(**stream, frame, watch);
  streams_.erase(stream->get());
  watch.stop();
  (*stream)->close();
  co_await crew.join();
  if (answers && answers->size() != hello.streams.size())
    co_return Error{Errc::corrupt, fmt::format("{} answers for {} streams of {}", witness_.name,
                                               answers->size(), hello.streams.size())};
  co_return answers;
}

Task<Result<std::vector<Answer>>> Petitioner::exchange(Stream& stream, const Bytes& frame,
                                                       SilenceWatch& watch) {
  const std::array buffers{asio::const_buffer(frame.data(), frame.size())};
  if (auto sent = co_await stream.write(buffers); !sent) co_return sent.error();
  FrameReader reader(stream, &watch);
  Bytes body;
  const std::string address = stream.peer();
  auto welcome = co_await read_welcome(reader, body, witness_.name, address);
  if (!welcome) co_return welcome.error();
  co_return std::move(welcome->streams);
}

void Petitioner::stop() {
  stopping_ = true;
  for (Stream* stream : streams_) stream->close();
}

}  // namespace cascade
