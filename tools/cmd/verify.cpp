// SPDX-License-Identifier: GPL-2.0-or-later
//
// verify: compares a volume with its copies on hub and remote, beside its writers, and repairs
// them.
#include "tools/verify.hpp"
#include "lib/config/units.hpp"
#include "tools/client.hpp"
#include "tools/command.hpp"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

namespace cascade {
namespace {

// How long a copy that is behind is waited for while nothing more is compared.
constexpr std::chrono::seconds patience{120};

struct VerifyWanted {
  std::string volume;
  std::string from;
  std::string rate;
  bool repair = false;
  std::vector<std::string> force;
  bool stop = false;
  bool no_wait = false;
};

/// Sizes that were given as text.
struct Numbers {
  std::uint64_t from = 0;
  std::uint64_t rate = 0;
};

Result<std::uint64_t> size_of(const std::string& option, const std::string& text) {
  if (text.empty()) return std::uint64_t{0};
  const auto bytes = parse_size(text);
  if (bytes) return *bytes;
  return Error{Errc::invalid, fmt::format("{} takes a size like 64MiB", option)};
}

Result<Numbers> numbers_of(const VerifyWanted& wanted) {
  const auto from = size_of("--from", wanted.from);
  if (!from) return from.error();
  const auto rate = size_of("--rate", wanted.rate);
  if (!rate) return rate.error();
  return Numbers{*from, *rate};
}

/// A volume of this primary, and who knows of it.
struct VerifyScene {
  const Options& options;
  std::string socket;
  std::string group;
  std::string volume;

  int complain(const Error& error) const {
    return cascade::complain(options, {error.code, fmt::format("{}: {}", volume, error.text)});
  }
};

std::optional<VerifyScene> set_scene(const Options& options, const std::string& name, int& code) {
  const auto loaded = load(options, code);
  if (!loaded) return std::nullopt;
  const auto found = find_own_volume(*loaded, name);
  if (!found) {
    code = complain(options, found.error());
    return std::nullopt;
  }
  return VerifyScene{options, options.socket.value_or(loaded->config.daemon.socket),
                     found->first->name, name};
}

Result<api::Volume> look(const VerifyScene& scene) {
  const auto report = ask_status(scene.socket);
  if (!report) return report.error();
  if (const api::Group* group = find_group(*report, scene.group))
    for (const api::Volume& volume : group->volumes)
      if (volume.name == scene.volume && volume.role == "primary" && volume.verify) return volume;
  return Error{Errc::refused, "it is not being compared any more: see status"};
}

/// Whether there is nothing that has to be looked at.
bool is_well(const api::Verify& verify) {
  if (verify.state == "waiting") return false;
  for (const auto& copy : verify.copies)
    if (copy.differing_bytes > 0) return false;
  return verify.unreadable_bytes == 0;
}

/// Comes to an end with the last copy, or with the patience for one.
Result<api::Volume> follow(const VerifyScene& scene) {
  using Clock = std::chrono::steady_clock;
  const bool shows = !scene.options.json && ::isatty(STDERR_FILENO) == 1;
  std::string before;
  auto changed = Clock::now();
  for (;;) {
    const auto now = look(scene);
    const std::string state = now ? now->verify->state : "";
    const std::string figures = now ? api::to_json(*now->verify) : "";
    if (std::exchange(before, figures) != figures) changed = Clock::now();
    const bool waits = state == "waiting" && Clock::now() - changed < patience;
    if (state != "running" && state != "repairing" && !waits) {
      if (shows) fmt::print(stderr, "\n");
      return now;
    }
    if (shows) fmt::print(stderr, "\r{}\033[K", verify_heading(*now));
    std::this_thread::sleep_for(look_interval);
  }
}

int verify(const Options& options, const VerifyWanted& wanted) {
  int code = 0;
  const auto numbers = numbers_of(wanted);
  if (!numbers) return complain(options, numbers.error(), exit_usage);
  const auto scene = set_scene(options, wanted.volume, code);
  if (!scene) return code;
  const auto command = wanted.stop ? api::command_verify_end : api::command_verify_begin;
  api::Request request{std::string(command), scene->group, scene->volume};
  request.from_bytes = numbers->from;
  request.rate_bytes = numbers->rate;
  request.repair = wanted.repair;
  request.force = wanted.force;
  if (const auto told = tell(scene->socket, request); !told) return scene->complain(told.error());
  const auto volume = wanted.stop || wanted.no_wait ? look(*scene) : follow(*scene);
  if (!volume) return scene->complain(volume.error());
  if (options.json)
    fmt::print("{}\n", api::to_json(*volume->verify));
  else
    fmt::print("{}", verify_lines(*volume, ""));
  return is_well(*volume->verify) ? exit_ok : exit_failed;
}

}  // namespace

void add_verify(CLI::App& app, const Options& options, Action& action) {
  auto wanted = std::make_shared<VerifyWanted>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "On a primary: compare a volume with its copies, and repair them; 1 if one of them differs");
  command->add_option("VOLUME", wanted->volume, "A volume of the configuration")->required();
  command->add_option("--from", wanted->from,
                      "Where to begin, like 10GiB, as one that was stopped says");
  command->add_option("--rate", wanted->rate,
                      "So much in a second at the most, like 20MiB; without, as fast as the "
                      "volume's writers and its copies allow");
  auto* no_wait =
      command->add_flag("--no-wait", wanted->no_wait, "Begin only: status shows the rest");
  auto* repair = command->add_flag("--repair", wanted->repair,
                                   "Write what differs to the copies, as the volume holds it, and "
                                   "compare it once more");
  command
      ->add_option("--force", wanted->force,
                   "primary-is-right: repair even what differs on all copies")
      ->check(CLI::IsMember({std::string(api::force_primary_is_right)}))
      ->needs(repair);
  command->add_flag("--stop", wanted->stop, "End the one that goes on")
      ->excludes(no_wait)
      ->excludes(repair);
  command->final_callback(
      [&, wanted] { action = [&options, wanted] { return verify(options, *wanted); }; });
}

}  // namespace cascade
