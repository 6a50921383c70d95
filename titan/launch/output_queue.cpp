#include "titan/launch/output_queue.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace titan::launch {
namespace {

// A pipe that polls as writable takes this much (PIPE_BUF) without blocking.
constexpr size_t kChunk = 4096;

bool writable(int fd) {
  pollfd entry{fd, POLLOUT, 0};
  return poll(&entry, 1, 0) == 1;
}

// The next piece to write: whole lines if one ends within kChunk.
std::string_view next_chunk(std::string_view pending) {
  if (pending.size() > kChunk) pending = pending.substr(0, kChunk);
  const size_t last_newline = pending.rfind('\n');
  return last_newline == std::string_view::npos ? pending : pending.substr(0, last_newline + 1);
}

}  // namespace

void OutputQueue::push(std::string_view prefix, std::string_view line) {
  if (broken_) return;
  bytes_ += prefix;
  bytes_ += line;
  bytes_ += '\n';
}

bool OutputQueue::write_some() {
  while (!empty() && writable(fd_)) {
    const std::string_view chunk = next_chunk(std::string_view(bytes_).substr(num_written_));
    const ssize_t size = write(fd_, chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) break;
    if (size < 0) {
      broken_ = true;
      bytes_.clear();
      num_written_ = 0;
      inside_line_ = false;
      return false;
    }
    inside_line_ = size > 0 && chunk[static_cast<size_t>(size) - 1] != '\n';
    num_written_ += static_cast<size_t>(size);
  }
  // Forget what is written, when it is all or most of it, so that each byte moves once on average.
  if (num_written_ > bytes_.size() / 2) {
    bytes_.erase(0, num_written_);
    num_written_ = 0;
  }
  return true;
}

}  // namespace titan::launch
