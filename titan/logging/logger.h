// Log lines in TorchTitan's form, so that people's scripts still parse them:
//   [rank0]:[titan] 2026-01-01 00:00:00,000 - root - INFO - Training starts at step 1
// Every line goes to stdout whole and is flushed at once, into a pipe too. On a terminal a status line (a progress
// bar) can stand below the last line. This is not metrics: it writes what it is given.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace titan::logging {

enum class Level { kDebug, kInfo, kWarning, kError };

// The rank in the prefix of every later line. Default 0.
void set_rank(int64_t rank);

// Lines below `level` are dropped. Default kInfo.
void set_level(Level level);

// Writes one line. Newlines inside `message` start further lines without a prefix. Thread-safe.
void write(Level level, std::string_view message);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

// Shows `status` below the log lines and keeps it there; an empty text removes it. Does nothing unless stdout is a
// terminal, so pipes and files never see it.
void set_status(std::string_view status);

// Whether stdout is a terminal.
bool on_terminal();

}  // namespace titan::logging
