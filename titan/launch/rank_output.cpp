#include "titan/launch/rank_output.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "titan/launch/output_queue.h"

namespace titan::launch {
namespace {

constexpr size_t kMaxHeldLines = 200, kMaxHeldBytes = size_t{1} << 20;

int open_log(const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  TORCH_CHECK_VALUE(fd >= 0, "--log-dir: cannot write ", file.string(), ": ", std::strerror(errno));
  return fd;
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = write(fd, bytes.data(), bytes.size());
    TORCH_CHECK(size >= 0 || errno == EINTR, "--log-dir: cannot write a rank's output: ", std::strerror(errno));
    if (size > 0) bytes.remove_prefix(static_cast<size_t>(size));
  }
}

}  // namespace

RankOutput::RankOutput(int64_t rank, bool shown, const std::string& log_dir, OutputQueue& out, OutputQueue& err)
    : prefix_("[rank" + std::to_string(rank) + "]:"), shown_(shown), queues_{&out, &err} {
  if (log_dir.empty()) return;
  const std::filesystem::path folder = std::filesystem::path(log_dir) / ("rank" + std::to_string(rank));
  logs_[0] = open_log(folder / "stdout.log");
  logs_[1] = open_log(folder / "stderr.log");
}

RankOutput::~RankOutput() {
  for (const int log : logs_) {
    if (log >= 0) close(log);
  }
}

void RankOutput::add(Stream stream, std::string_view bytes) {
  const auto index = static_cast<size_t>(stream);
  if (logs_[index] >= 0) write_all(logs_[index], bytes);
  lines_[index].add(bytes, [&](std::string_view line) { take(stream, line); });
}

void RankOutput::finish() {
  for (const Stream stream : {Stream::kStdout, Stream::kStderr}) {
    lines_[static_cast<size_t>(stream)].finish([&](std::string_view line) { take(stream, line); });
  }
}

void RankOutput::take(Stream stream, std::string_view line) {
  if (line.starts_with(prefix_)) line.remove_prefix(prefix_.size());
  if (shown_) queues_[static_cast<size_t>(stream)]->push(prefix_, line);
  if (stream == Stream::kStdout) return first_error_.add_stdout(line);

  first_error_.add_stderr(line, FirstError::Clock::now());
  last_stderr_.emplace_back(line);
  num_held_bytes_ += line.size();
  while (last_stderr_.size() > kMaxHeldLines || (num_held_bytes_ > kMaxHeldBytes && last_stderr_.size() > 1)) {
    num_held_bytes_ -= last_stderr_.front().size();
    last_stderr_.pop_front();
  }
}

}  // namespace titan::launch
