#include "titan/logging/logger.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <mutex>

namespace titan::logging {
namespace {

struct Logger {
  std::mutex mutex;
  int64_t rank = 0;
  Level level = Level::kInfo;
  std::string status;
};

Logger& logger() {
  static Logger instance;
  return instance;
}

const char* name_of(Level level) {
  switch (level) {
    case Level::kDebug:
      return "DEBUG";
    case Level::kInfo:
      return "INFO";
    case Level::kWarning:
      return "WARNING";
    case Level::kError:
      return "ERROR";
  }
  return "";
}

// "2026-01-01 00:00:00,000" in local time, as Python's logging writes it.
std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return fmt::format("{},{:03}", text, millis);
}

// One write(2) per line where possible, so lines of several ranks on one pipe do not mix.
void put(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string_view fit_to_terminal(std::string_view status) {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) return status.substr(0, size.ws_col - 1);
  return status.substr(0, 79);
}

constexpr std::string_view kEraseLine = "\r\x1b[2K";

}  // namespace

void set_rank(int64_t rank) {
  std::lock_guard lock(logger().mutex);
  logger().rank = rank;
}

void set_level(Level level) {
  std::lock_guard lock(logger().mutex);
  logger().level = level;
}

void write(Level level, std::string_view message) {
  Logger& log = logger();
  std::lock_guard lock(log.mutex);
  if (level < log.level) return;
  const std::string line =
      fmt::format("[rank{}]:[titan] {} - root - {} - {}\n", log.rank, timestamp(), name_of(level), message);
  if (log.status.empty()) return put(line);
  put(fmt::format("{}{}{}", kEraseLine, line, fit_to_terminal(log.status)));
}

void set_status(std::string_view status) {
  if (!on_terminal()) return;
  Logger& log = logger();
  std::lock_guard lock(log.mutex);
  if (log.status.empty() && status.empty()) return;
  log.status = status;
  put(fmt::format("{}{}", kEraseLine, fit_to_terminal(status)));
}

bool on_terminal() {
  static const bool terminal = isatty(STDOUT_FILENO) == 1;
  return terminal;
}

}  // namespace titan::logging
