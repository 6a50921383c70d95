// Runs launch_ranks in a process of its own, with /bin/sh programs in the ranks' place, so that tests can send signals
// to the launcher, read what it shows, and see that nothing outlives it. Needs titan_launch.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "titan/launch/launch.h"

namespace titan::test {

using Clock = std::chrono::steady_clock;

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Ranks that run `script`, all of them shown.
inline launch::LaunchOptions stand_ins(int64_t num_ranks, const std::string& script) {
  launch::LaunchOptions options;
  options.command = {"/bin/sh", "-c", script};
  options.nproc_per_node = num_ranks;
  options.shown_local_ranks.reset();
  return options;
}

// Whether the process is no more than a zombie that somebody else is to reap.
inline bool is_gone(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(status)), {});
  const size_t end_of_name = text.rfind(')');
  return end_of_name == std::string::npos || text.compare(end_of_name, 3, ") Z") == 0 ||
         text.compare(end_of_name, 3, ") X") == 0;
}

// Waits up to 5 s: a process that was SIGKILLed takes a moment to go.
inline bool goes_away(pid_t pid) {
  const auto give_up = Clock::now() + std::chrono::seconds(5);
  while (!is_gone(pid)) {
    if (Clock::now() > give_up) return false;
    poll(nullptr, 0, 2);
  }
  return true;
}

class LaunchedRanks {
 public:
  explicit LaunchedRanks(launch::LaunchOptions options) {
    std::array<int, 2> out{}, err{};
    if (pipe2(out.data(), O_CLOEXEC) != 0 || pipe2(err.data(), O_CLOEXEC) != 0) ADD_FAILURE() << "pipe2";
    launcher_ = fork();
    if (launcher_ == 0) {
      close(out[0]);
      close(err[0]);
      options.stdout_fd = out[1];
      options.stderr_fd = err[1];
      int code = 125;
      try {
        code = launch::launch_ranks(options);
      } catch (const std::exception& error) {
        dprintf(err[1], "%s\n", error.what());
      }
      _exit(code);
    }
    close(out[1]);
    close(err[1]);
    fds_ = {out[0], err[0]};
  }
  ~LaunchedRanks() {
    if (!waited_) {
      kill(launcher_, SIGKILL);
      waitpid(launcher_, nullptr, 0);
    }
    for (const int fd : fds_) {
      if (fd >= 0) close(fd);
    }
  }
  LaunchedRanks(const LaunchedRanks&) = delete;
  LaunchedRanks& operator=(const LaunchedRanks&) = delete;

  // Reads until stdout and stderr together hold `count` lines with `text`. False after 20 s, or when they have ended.
  bool wait_for(const std::string& text, size_t count = 1) {
    const auto give_up = Clock::now() + std::chrono::seconds(20);
    while (num_lines_with(text) < count) {
      if (Clock::now() > give_up || !read_some()) return false;
    }
    return true;
  }

  // Reads to the end, and waits for it. The launcher's exit code; 128 + the signal's number if one ended it.
  int finish() {
    while (read_some()) {
    }
    int status = 0;
    waitpid(launcher_, &status, 0);
    waited_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // The process ids that ranks printed as "pid <rank> <pid>", by rank (or what they put in its place).
  std::map<std::string, pid_t> pids() const {
    std::map<std::string, pid_t> pids;
    for (const std::string& line : lines_of(out())) {
      const size_t at = line.find("pid ");
      if (at == std::string::npos) continue;
      std::istringstream words(line.substr(at + 4));
      std::string name;
      pid_t pid = 0;
      if (words >> name >> pid) pids[name] = pid;
    }
    return pids;
  }

  void send(int signal) const { kill(launcher_, signal); }
  pid_t launcher() const { return launcher_; }
  const std::string& out() const { return texts_[0]; }
  const std::string& err() const { return texts_[1]; }
  void close_stdout() { close(std::exchange(fds_[0], -1)); }

 private:
  size_t num_lines_with(const std::string& part) const {
    size_t count = 0;
    for (const std::string& text : texts_) {
      for (const std::string& line : lines_of(text)) count += line.find(part) != std::string::npos ? 1 : 0;
    }
    return count;
  }

  // Waits up to 100 ms for more. False at the end of both streams.
  bool read_some() {
    std::array<pollfd, 2> entries{{{fds_[0], POLLIN, 0}, {fds_[1], POLLIN, 0}}};
    if (fds_[0] < 0 && fds_[1] < 0) return false;
    poll(entries.data(), entries.size(), 100);
    for (size_t i = 0; i < 2; ++i) {
      if (fds_[i] < 0 || entries[i].revents == 0) continue;
      std::array<char, 1 << 16> buffer;
      const ssize_t size = read(fds_[i], buffer.data(), buffer.size());
      if (size > 0) {
        texts_[i].append(buffer.data(), static_cast<size_t>(size));
      } else {
        close(std::exchange(fds_[i], -1));
      }
    }
    return true;
  }

  pid_t launcher_ = -1;
  bool waited_ = false;
  std::array<int, 2> fds_{-1, -1};
  std::array<std::string, 2> texts_;
};

}  // namespace titan::test
