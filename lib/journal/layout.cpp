// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/journal/layout.hpp"

#include "lib/base/checksum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace cascade {
namespace {

Error corrupt(std::string what) { return Error{Errc::corrupt, std::move(what)}; }

Uuid get_uuid(const std::uint8_t* in) {
  Uuid uuid;
  std::memcpy(uuid.data, in, 16);
  return uuid;
}

std::uint32_t superblock_crc(std::span<const std::byte, superblock_bytes> bytes) {
  constexpr std::size_t at = offsetof(SuperblockDisk, crc);
  const std::byte zero[4] = {};
  std::uint32_t crc = crc32c(bytes.first(at));
  crc = crc32c(zero, crc);
  return crc32c(bytes.subspan(at + sizeof zero), crc);
}

std::uint32_t head_crc(std::span<const std::byte> header_and_records) {
  constexpr std::size_t at = offsetof(BatchHeader, header_crc);
  const std::byte zero[4] = {};
  std::uint32_t crc = crc32c(header_and_records.first(at));
  crc = crc32c(zero, crc);
  return crc32c(header_and_records.subspan(at + sizeof zero), crc);
}

Result<void> check_version(const SuperblockDisk& disk) {
  if (le16toh(disk.major) != journal_major)
    return Error{Errc::version,
                 fmt::format("superblock: version is {}.{}, this program reads {}.x; run the "
                             "version of dm-cascade that made it, or format the journal anew",
                             le16toh(disk.major), le16toh(disk.minor), journal_major)};
  if (const auto unknown = le64toh(disk.required) & ~journal_required_known; unknown != 0)
    return Error{Errc::version,
                 fmt::format("superblock: capabilities {:#x} are required, which this version does "
                             "not know; run a newer version of dm-cascade",
                             unknown)};
  if (le32toh(disk.entry_bytes) != sizeof(VolumeEntry))
    return corrupt(fmt::format("superblock: entries of {} bytes, wanted {}",
                               le32toh(disk.entry_bytes), sizeof(VolumeEntry)));
  return {};
}

Result<void> check_geometry(const Superblock& sb) {
  if (sb.data_offset != journal_data_offset || sb.data_bytes % journal_block != 0 ||
      sb.data_bytes < journal_data_bytes_min)
    return corrupt(fmt::format("superblock: a circle of {} bytes at {} makes no sense",
                               sb.data_bytes, sb.data_offset));
  if (sb.tail_position % journal_block != 0 || sb.tail_number == 0 || sb.tail_seq == 0)
    return corrupt("superblock: the tail makes no sense");
  if (sb.index && *sb.index % journal_block != 0)
    return corrupt("superblock: the index makes no sense");
  return {};
}

}  // namespace

// ---- superblock

Result<Superblock> format_superblock(const Uuid& group, std::uint64_t device_bytes) {
  constexpr std::uint64_t bytes_min = journal_data_offset + journal_data_bytes_min;
  if (device_bytes < bytes_min)
    return Error{Errc::invalid,
                 fmt::format("{} bytes are too small for a journal; give it at least "
                             "{} MiB",
                             device_bytes, bytes_min >> 20)};
  Superblock sb;
  sb.group = group;
  sb.journal = make_uuid();
  sb.generation = 1;
  sb.tail_history = history_begin(group);
  sb.data_bytes = (device_bytes - journal_data_offset) / journal_block * journal_block;
  return sb;
}

void begin_with(Superblock& sb, const Beginning& beginning) {
  sb.volumes = beginning;
  for (const auto& [volume, place] : beginning)
    sb.tail_history =
        history_begin_with(sb.tail_history, volume, place.volume_seq, place.source.generation);
}

Result<Beginning> held_by_copies(const Superblock& sb) {
  const auto refuse = [](std::string why) { return Error{Errc::refused, std::move(why)}; };
  if (sb.takeover.decided())
    return refuse(
        fmt::format("the group was promoted here as generation {}: its copies may have "
                    "been written since",
                    to_text(sb.takeover.generation)));
  if (!sb.clean)
    return refuse(
        "its journal is open, or was not closed in order: let the daemon run with the "
        "file before once more");
  if (sb.limit_seq != no_limit || sb.past_limit)
    return refuse("its bracket is open: the copies are not as new as the journal");
  if (sb.gap_seq != 0) return refuse("its copies have not caught up yet");
  if (sb.applied_seq < sb.stored_seq)
    return refuse(fmt::format("{} writes of its journal are not in its copies yet",
                              sb.stored_seq - sb.applied_seq));
  Beginning held;
  for (const auto& [volume, place] : sb.volumes) {
    if (place.dropped || place.standing != Standing{})
      return refuse(fmt::format("its copy of volume {} was left behind", to_text(volume)));
    held[volume] = {.volume_seq = place.volume_seq,
                    .source = {.generation = place.source.generation},
                    .bytes = place.bytes};
  }
  return held;
}

namespace {

VolumeEntry volume_entry(const Uuid& uuid, const VolumePlace& place) {
  VolumeEntry entry{};
  std::memcpy(entry.volume, uuid.data, 16);
  entry.volume_seq = htole64(place.volume_seq);
  std::memcpy(entry.incarnation, place.source.incarnation.data, 16);
  std::memcpy(entry.generation, place.source.generation.data, 16);
  entry.copy_device = htole64(place.copy.identity);
  entry.copy_bytes = htole64(place.copy.bytes);
  entry.flags = htole32((place.dropped ? volume_dropped : 0) | (place.leased ? volume_leased : 0));
  entry.volume_bytes = htole64(place.bytes);
  const Standing& standing = place.standing;
  if (standing.mark == CASCADE_MARK_ATTACHED) return entry;
  entry.mark = htole32(static_cast<std::uint32_t>(CASCADE_MARK(standing.mark, standing.why)));
  entry.mark_time_ns = htole64(standing.since_ns);
  return entry;
}

VolumePlace place_of(const VolumeEntry& entry) {
  VolumePlace place;
  place.volume_seq = le64toh(entry.volume_seq);
  place.source = {get_uuid(entry.incarnation), get_uuid(entry.generation)};
  place.copy = {le64toh(entry.copy_device), le64toh(entry.copy_bytes)};
  place.dropped = (le32toh(entry.flags) & volume_dropped) != 0;
  place.leased = (le32toh(entry.flags) & volume_leased) != 0;
  place.bytes = le64toh(entry.volume_bytes);
  if (const std::uint32_t mark = le32toh(entry.mark); mark != 0)
    place.standing = {static_cast<std::uint8_t>(CASCADE_MARK_OF(mark)),
                      static_cast<std::uint8_t>(CASCADE_WHY_OF(mark)), le64toh(entry.mark_time_ns)};
  return place;
}

/// Of all volumes that have one, from `at` on. Returns how many.
std::uint32_t put_grants(const std::map<Uuid, VolumePlace>& volumes, std::byte* at) {
  std::uint32_t count = 0, volume = 0;
  for (const auto& [uuid, place] : volumes) {
    const std::uint32_t number = volume++;
    if (place.grant == Grant{} || count == superblock_grants_max) continue;
    GrantEntry entry{};
    entry.volume = htole32(number);
    std::memcpy(entry.alone, place.grant.alone.data, 16);
    std::memcpy(entry.petition, place.grant.petition.data, 16);
    std::memcpy(entry.promotion, place.grant.promotion.data, 16);
    std::memcpy(at, &entry, sizeof entry);
    at += sizeof entry;
    ++count;
  }
  return count;
}

/// `order`: the volumes, as they stood there. False if one is not among them.
bool get_grants(std::map<Uuid, VolumePlace>& volumes, const std::vector<Uuid>& order,
                const std::byte* at, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i, at += sizeof(GrantEntry)) {
    GrantEntry entry;
    std::memcpy(&entry, at, sizeof entry);
    const std::uint32_t number = le32toh(entry.volume);
    if (number >= order.size()) return false;
    volumes[order[number]].grant = {get_uuid(entry.alone), get_uuid(entry.petition),
                                    get_uuid(entry.promotion)};
  }
  return true;
}

}  // namespace

void encode_superblock(const Superblock& sb, std::span<std::byte, superblock_bytes> out) {
  std::memset(out.data(), 0, out.size());
  SuperblockDisk disk{};
  disk.magic = htole64(superblock_magic);
  disk.major = htole16(journal_major);
  disk.minor = htole16(journal_minor);
  disk.entry_bytes = htole32(sizeof(VolumeEntry));
  disk.stored_seq = htole64(sb.stored_seq);
  disk.tail_history = htole64(sb.tail_history);
  std::memcpy(disk.follower, sb.follower.data, 16);
  disk.gap_first = htole64(sb.gap_first);
  disk.gap_seq = htole64(sb.gap_seq);
  disk.past_limit = htole64(sb.past_limit ? *sb.past_limit + 1 : 0);
  disk.index = htole64(sb.index ? *sb.index + 1 : 0);
  disk.behind_map = htole64(sb.behind.map);
  disk.behind_seq = htole64(sb.behind.seq);
  disk.behind_history = htole64(sb.behind.history);
  disk.behind_time_ns = htole64(sb.behind.since_ns);
  std::memcpy(disk.takeover, sb.takeover.generation.data, 16);
  disk.takeover_time_ns = htole64(sb.takeover.time_ns);
  disk.takeover_seq = htole64(sb.takeover.seq ? *sb.takeover.seq + 1 : 0);
  disk.takeover_at_ns = htole64(sb.takeover.at_ns);
  disk.applied_time_ns = htole64(sb.applied_time_ns);
  disk.takeover_flags = htole32(sb.takeover.newest ? takeover_newest : 0);
  disk.flags = htole32(sb.rejoins ? superblock_rejoins : 0);
  std::memcpy(disk.petition, sb.petition.data, 16);
  std::memcpy(disk.granted, sb.granted.data, 16);
  disk.granted_time_ns = htole64(sb.granted_time_ns);
  std::memcpy(disk.group, sb.group.data, 16);
  std::memcpy(disk.journal, sb.journal.data, 16);
  disk.generation = htole64(sb.generation);
  disk.data_offset = htole64(sb.data_offset);
  disk.data_bytes = htole64(sb.data_bytes);
  disk.epoch = htole64(sb.epoch);
  disk.epoch_number = htole64(sb.epoch_number);
  disk.tail_position = htole64(sb.tail_position);
  disk.tail_number = htole64(sb.tail_number);
  disk.tail_seq = htole64(sb.tail_seq);
  disk.applied_seq = htole64(sb.applied_seq);
  disk.limit_seq = htole64(sb.limit_seq);
  disk.tail_previous_crc = htole32(sb.tail_previous_crc);
  disk.clean = htole32(sb.clean ? 1 : 0);
  disk.volumes = htole32(static_cast<std::uint32_t>(sb.volumes.size()));
  std::byte* at = out.data() + sizeof disk;
  bool brackets = sb.limit_seq != no_limit;
  for (const auto& [uuid, place] : sb.volumes) {
    brackets = brackets || place.standing.mark != CASCADE_MARK_ATTACHED;
    const VolumeEntry entry = volume_entry(uuid, place);
    std::memcpy(at, &entry, sizeof entry);
    at += sizeof entry;
  }
  const std::uint32_t grants = put_grants(sb.volumes, at);
  disk.grants = htole32(grants);
  const bool gaps = sb.jumped || sb.gap_seq != 0;
  disk.required = htole64(
      (grants != 0 || sb.granted != Uuid{} ? journal_required_grants : 0) |
      (brackets ? journal_required_brackets : 0) | (gaps ? journal_required_gaps : 0) |
      (sb.behind.map != 0 ? journal_required_behind : 0) |
      (sb.past_limit ? journal_required_past : 0) | (sb.indexed ? journal_required_index : 0) |
      (sb.takeover.decided() ? journal_required_takeover : 0) |
      (sb.takeover.at_ns != 0 && !sb.takeover.done() ? journal_required_moment : 0));
  std::memcpy(out.data(), &disk, sizeof disk);
  disk.crc = htole32(superblock_crc(out));
  std::memcpy(out.data(), &disk, sizeof disk);
}

Result<Superblock> decode_superblock(std::span<const std::byte, superblock_bytes> in) {
  SuperblockDisk disk;
  std::memcpy(&disk, in.data(), sizeof disk);
  if (le64toh(disk.magic) != superblock_magic)
    return Error{Errc::not_found, "no journal superblock"};
  if (const auto wanted = superblock_crc(in); le32toh(disk.crc) != wanted)
    return corrupt(fmt::format("superblock: checksum is {:#010x}, wanted {:#010x}",
                               le32toh(disk.crc), wanted));
  if (auto ok = check_version(disk); !ok) return ok.error();
  const std::size_t volumes = le32toh(disk.volumes);
  const std::size_t grants = le32toh(disk.grants);
  if (volumes > superblock_volumes_max || grants > superblock_grants_max)
    return corrupt(
        fmt::format("superblock: {} volumes and {} grants, at most {} and {} are allowed", volumes,
                    grants, superblock_volumes_max, superblock_grants_max));
  Superblock sb;
  sb.group = get_uuid(disk.group);
  sb.journal = get_uuid(disk.journal);
  sb.generation = le64toh(disk.generation);
  sb.data_offset = le64toh(disk.data_offset);
  sb.data_bytes = le64toh(disk.data_bytes);
  sb.epoch = le64toh(disk.epoch);
  sb.epoch_number = le64toh(disk.epoch_number);
  sb.tail_position = le64toh(disk.tail_position);
  sb.tail_number = le64toh(disk.tail_number);
  sb.tail_seq = le64toh(disk.tail_seq);
  sb.applied_seq = le64toh(disk.applied_seq);
  sb.limit_seq = le64toh(disk.limit_seq);
  sb.tail_previous_crc = le32toh(disk.tail_previous_crc);
  sb.clean = le32toh(disk.clean) != 0;
  sb.optional = le64toh(disk.optional);
  sb.stored_seq = le64toh(disk.stored_seq);
  sb.tail_history = le64toh(disk.tail_history);
  sb.follower = get_uuid(disk.follower);
  sb.gap_first = le64toh(disk.gap_first);
  sb.gap_seq = le64toh(disk.gap_seq);
  sb.behind = {le64toh(disk.behind_map), le64toh(disk.behind_seq), le64toh(disk.behind_history),
               le64toh(disk.behind_time_ns)};
  if (const std::uint64_t past = le64toh(disk.past_limit); past != 0) sb.past_limit = past - 1;
  sb.takeover = {get_uuid(disk.takeover),
                 le64toh(disk.takeover_time_ns),
                 (le32toh(disk.takeover_flags) & takeover_newest) != 0,
                 {}};
  sb.takeover.at_ns = le64toh(disk.takeover_at_ns);
  sb.applied_time_ns = le64toh(disk.applied_time_ns);
  if (const std::uint64_t seq = le64toh(disk.takeover_seq); seq != 0) sb.takeover.seq = seq - 1;
  sb.rejoins = (le32toh(disk.flags) & superblock_rejoins) != 0;
  sb.petition = get_uuid(disk.petition);
  sb.granted = get_uuid(disk.granted);
  sb.granted_time_ns = le64toh(disk.granted_time_ns);
  sb.jumped = (le64toh(disk.required) & journal_required_gaps) != 0;
  sb.indexed = (le64toh(disk.required) & journal_required_index) != 0;
  if (const std::uint64_t index = le64toh(disk.index); index != 0) sb.index = index - 1;
  const std::byte* at = in.data() + sizeof disk;
  std::vector<Uuid> order;
  for (std::size_t i = 0; i < volumes; ++i, at += sizeof(VolumeEntry)) {
    VolumeEntry entry;
    std::memcpy(&entry, at, sizeof entry);
    order.push_back(get_uuid(entry.volume));
    sb.volumes[order.back()] = place_of(entry);
  }
  if (!get_grants(sb.volumes, order, at, grants))
    return corrupt("superblock: a grant is for a volume that it does not have");
  if (auto ok = check_geometry(sb); !ok) return ok.error();
  return sb;
}

namespace {

Error no_superblock(const Error& a, const Error& b, const std::string& path) {
  if (a.code == Errc::not_found && b.code == Errc::not_found)
    return Error{Errc::not_found,
                 fmt::format("{} is not a journal; run 'dmcascade journal format'", path)};
  const Error& telling = a.code == Errc::not_found ? b : a;
  return Error{telling.code, fmt::format("{}: both copies of the superblock are unusable: {}", path,
                                         telling.text)};
}

}  // namespace

Result<Superblock> choose_superblock(const Result<Superblock>& a, const Result<Superblock>& b,
                                     const Uuid& group, std::uint64_t device_bytes,
                                     const std::string& path) {
  if (!a && !b) return no_superblock(a.error(), b.error(), path);
  const bool first = a && (!b || a->generation >= b->generation);
  const Superblock& sb = first ? *a : *b;
  if (sb.group != group)
    return Error{Errc::foreign,
                 fmt::format("{} is the journal of group {}, not of {}; correct the configuration, "
                             "or format it anew if that group is gone",
                             path, to_text(sb.group), to_text(group))};
  if (sb.data_offset + sb.data_bytes > device_bytes)
    return Error{Errc::invalid,
                 fmt::format("{} has {} bytes, but its journal was made for {}; the device was "
                             "truncated",
                             path, device_bytes, sb.data_offset + sb.data_bytes)};
  return sb;
}

// ---- batches

std::uint32_t seal_batch(const BatchInfo& info, const Uuid& journal, std::span<std::byte> head) {
  BatchHeader h{};
  h.magic = htole32(batch_magic);
  h.major = htole16(journal_major);
  h.kind = htole16(static_cast<std::uint16_t>(info.kind));
  h.records = htole32(info.records);
  h.payload_bytes = htole32(info.payload_bytes);
  h.blocks = htole32(static_cast<std::uint32_t>(info.bytes / journal_block));
  std::memcpy(h.journal, journal.data, 16);
  h.epoch = htole64(info.epoch);
  h.number = htole64(info.number);
  h.position = htole64(info.position);
  h.first_seq = htole64(info.first_seq);
  h.durable_number = htole64(info.durable_number);
  h.append_time_ns = htole64(info.append_time_ns);
  h.previous_crc = htole32(info.previous_crc);
  h.history = htole64(info.history);
  std::memcpy(head.data(), &h, sizeof h);
  const std::uint32_t crc = head_crc(head.first(sizeof h + info.records * sizeof(Record)));
  h.header_crc = htole32(crc);
  std::memcpy(head.data(), &h, sizeof h);
  return crc;
}

bool begins_like_batch(std::span<const std::byte> block) {
  const std::uint32_t magic = htole32(batch_magic);
  return block.size() >= sizeof magic && std::memcmp(block.data(), &magic, sizeof magic) == 0;
}

Result<BatchInfo> peek_batch(std::span<const std::byte> block, const Uuid& journal) {
  if (block.size() < sizeof(BatchHeader)) return corrupt("batch: cut short");
  BatchHeader h;
  std::memcpy(&h, block.data(), sizeof h);
  if (le32toh(h.magic) != batch_magic)
    return corrupt(
        fmt::format("batch: magic is {:#010x}, wanted {:#010x}", le32toh(h.magic), batch_magic));
  if (le16toh(h.major) != journal_major)
    return corrupt(fmt::format("batch: version is {}, wanted {}", le16toh(h.major), journal_major));
  if (get_uuid(h.journal) != journal) return corrupt("batch: of another journal");
  BatchInfo info;
  info.kind = static_cast<BatchKind>(le16toh(h.kind));
  info.records = le32toh(h.records);
  info.payload_bytes = le32toh(h.payload_bytes);
  info.bytes = std::uint64_t{le32toh(h.blocks)} * journal_block;
  info.epoch = le64toh(h.epoch);
  info.number = le64toh(h.number);
  info.position = le64toh(h.position);
  info.first_seq = le64toh(h.first_seq);
  info.durable_number = le64toh(h.durable_number);
  info.append_time_ns = le64toh(h.append_time_ns);
  info.previous_crc = le32toh(h.previous_crc);
  info.history = le64toh(h.history);
  info.header_crc = le32toh(h.header_crc);
  if (info.kind == BatchKind::skip) {
    if (info.records == 0 && info.payload_bytes == 0 && info.bytes > 0) return info;
  } else if (info.kind == BatchKind::jump || info.kind == BatchKind::index) {
    if (info.records == 0 && info.payload_bytes == 0 && info.bytes == journal_block) return info;
  } else if (info.kind == BatchKind::data) {
    if (info.records > 0 && info.records <= limits::batch_records_max &&
        info.payload_bytes <= limits::batch_payload_bytes_max &&
        info.bytes == batch_bytes(info.records, info.payload_bytes))
      return info;
  }
  return corrupt(
      fmt::format("batch: kind {} with {} records, {} bytes of payload, {} bytes on disk",
                  le16toh(h.kind), info.records, info.payload_bytes, info.bytes));
}

namespace {

Result<void> check_records(std::span<const std::byte> batch, const BatchInfo& info) {
  std::uint64_t seq = info.first_seq;
  for (const Record& record : batch_records(batch, info)) {
    if (auto ok = check_record(record); !ok) return ok;
    if (group_seq_of(record) != seq++)
      return corrupt(fmt::format("batch: record has group number {}, wanted {}",
                                 group_seq_of(record), seq - 1));
  }
  return {};
}

Result<void> check_payloads(std::span<const std::byte> batch, const BatchInfo& info) {
  auto payload = batch_payload(batch, info);
  for (const Record& record : batch_records(batch, info)) {
    const std::size_t bytes = payload_bytes_of(record);
    if (bytes > payload.size() || !payload_matches(record, payload.first(bytes)))
      return corrupt(fmt::format("batch: the payload of write {} does not match its checksum",
                                 group_seq_of(record)));
    payload = payload.subspan(bytes);
  }
  if (!payload.empty()) return corrupt("batch: bytes stand behind the payloads");
  return {};
}

}  // namespace

Result<BatchInfo> check_batch_head(std::span<const std::byte> head, const Uuid& journal) {
  auto info = peek_batch(head, journal);
  if (!info) return info;
  if (head.size() < batch_head_bytes(info->records)) return corrupt("batch: cut short");
  const auto covered = head.first(sizeof(BatchHeader) + info->records * sizeof(Record));
  if (const auto wanted = head_crc(covered); info->header_crc != wanted)
    return corrupt(
        fmt::format("batch: checksum is {:#010x}, wanted {:#010x}", info->header_crc, wanted));
  if (auto ok = check_records(head, *info); !ok) return ok.error();
  return info;
}

Result<BatchInfo> check_batch(std::span<const std::byte> batch, const Uuid& journal) {
  auto info = check_batch_head(batch, journal);
  if (!info) return info;
  const bool skip = info->kind == BatchKind::skip;
  if (batch.size() < (skip ? journal_block : info->bytes)) return corrupt("batch: cut short");
  if (auto ok = check_payloads(batch, *info); !ok) return ok.error();
  return info;
}

std::span<const Record> batch_records(std::span<const std::byte> batch, const BatchInfo& info) {
  return {reinterpret_cast<const Record*>(batch.data() + sizeof(BatchHeader)), info.records};
}

std::span<const std::byte> batch_payload(std::span<const std::byte> batch, const BatchInfo& info) {
  if (info.payload_bytes == 0) return {};
  return batch.subspan(batch_head_bytes(info.records), info.payload_bytes);
}

}  // namespace cascade
