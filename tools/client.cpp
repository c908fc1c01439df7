// SPDX-License-Identifier: GPL-2.0-or-later
#include "tools/client.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace cascade {
namespace {

constexpr time_t answer_seconds_max = 10;

Error unreachable(const std::string& path) {
  const char* advice = errno == ECONNREFUSED || errno == ENOENT
                           ? "; start it with 'systemctl start dmcascaded'"
                           : "";
  return Error{Errc::closed, fmt::format("the daemon does not answer on {}: {}{}", path,
                                         std::strerror(errno), advice)};
}

class Connection {
 public:
  Connection() : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{answer_seconds_max, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~Connection() { ::close(fd_); }

  bool connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
      errno = ENAMETOOLONG;
      return false;
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  bool send(const std::string& line) {
    return ::send(fd_, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size());
  }

  /// Through the first newline.
  bool receive_line(std::string& line) {
    char buffer[65536];
    while (line.empty() || line.back() != '\n') {
      const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n == 0) errno = ECONNRESET;
      if (n <= 0) return false;
      line.append(buffer, static_cast<std::size_t>(n));
    }
    return true;
  }

 private:
  int fd_;
};

/// One line there, one line back.
Result<std::string> ask(const std::string& socket_path, const api::Request& request) {
  Connection connection;
  std::string answer;
  if (!connection.connect(socket_path) || !connection.send(api::request_json(request) + "\n") ||
      !connection.receive_line(answer))
    return unreachable(socket_path);
  return answer;
}

}  // namespace

Result<api::StatusReport> ask_status(const std::string& socket_path) {
  const auto answer = ask(socket_path, {std::string(api::command_status)});
  if (!answer) return answer.error();
  return api::parse_status(*answer);
}

const api::Group* find_group(const api::StatusReport& report, const std::string& name) {
  for (const api::Group& group : report.groups)
    if (group.name == name) return &group;
  return nullptr;
}

Result<void> need_groups(const api::StatusReport& report, const std::vector<std::string>& groups) {
  for (const std::string& name : groups)
    if (find_group(report, name) == nullptr)
      return Error{Errc::not_found,
                   fmt::format("{}: node {} has nothing of this group", name, report.node)};
  return {};
}

Result<api::Takeover> ask_takeover(const std::string& socket_path, const api::Request& request) {
  const auto answer = ask(socket_path, request);
  if (!answer) return answer.error();
  return api::parse_takeover(*answer);
}

Result<api::Done> tell(const std::string& socket_path, const api::Request& request) {
  const auto answer = ask(socket_path, request);
  if (!answer) return answer.error();
  return api::parse_outcome(*answer);
}

}  // namespace cascade
