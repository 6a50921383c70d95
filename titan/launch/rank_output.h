// What one rank writes: split into lines, prefixed, shown or held back, kept in files if asked. It decides nothing
// about the rank.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "titan/launch/first_error.h"
#include "titan/launch/line_splitter.h"

namespace titan::launch {

class OutputQueue;

enum class Stream { kStdout, kStderr };

class RankOutput {
 public:
  // Lines of a shown rank go to `out` and `err`, which must outlive this, with "[rank<k>]:" before them unless they
  // start with it. `log_dir`, unless empty: keeps the bytes as they come in <log_dir>/rank<k>/{stdout,stderr}.log, made
  // anew. Throws c10::ValueError if they cannot be made.
  RankOutput(int64_t rank, bool shown, const std::string& log_dir, OutputQueue& out, OutputQueue& err);
  ~RankOutput();
  RankOutput(const RankOutput&) = delete;
  RankOutput& operator=(const RankOutput&) = delete;

  // Throws c10::Error if the log cannot be written.
  void add(Stream stream, std::string_view bytes);
  // The rank has ended: what it wrote after its last newline is a line too.
  void finish();

  bool shown() const { return shown_; }
  const std::string& prefix() const { return prefix_; }
  // The line that says why it failed; "" without one.
  std::string first_error() const { return first_error_.line(); }
  // The end of its stderr, without prefixes: up to 200 lines, 1 MiB.
  const std::deque<std::string>& last_stderr() const { return last_stderr_; }

 private:
  void take(Stream stream, std::string_view line);

  std::string prefix_;
  bool shown_;
  std::array<OutputQueue*, 2> queues_;
  std::array<LineSplitter, 2> lines_;
  std::array<int, 2> logs_{-1, -1};
  FirstError first_error_;
  std::deque<std::string> last_stderr_;
  size_t num_held_bytes_ = 0;
};

}  // namespace titan::launch
