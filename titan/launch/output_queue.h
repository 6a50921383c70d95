// Lines on their way to one of the launcher's own streams. Writing never blocks, so a reader that stands still (a
// pager, Ctrl-S) keeps no signal and no failing rank waiting: it only makes the ranks wait, when the queue is full.
#pragma once

#include <string>
#include <string_view>

namespace titan::launch {

class OutputQueue {
 public:
  explicit OutputQueue(int fd) : fd_(fd) {}

  // Appends prefix + line + newline, however full the queue is.
  void push(std::string_view prefix, std::string_view line);

  bool empty() const { return num_written_ == bytes_.size(); }
  // Whether to push more only if it cannot be helped.
  bool full() const { return bytes_.size() - num_written_ >= kFull; }
  // Whether the stream stands in the middle of a line, which another queue on the same terminal must not break.
  bool inside_line() const { return inside_line_; }

  // To be called when poll(2) says POLLOUT: writes as much as goes without blocking. False if the stream is broken
  // (errno says why); what is queued, and whatever is pushed later, is then dropped.
  bool write_some();

  int fd() const { return fd_; }

 private:
  static constexpr size_t kFull = size_t{1} << 20;

  int fd_;
  std::string bytes_;
  size_t num_written_ = 0;  // of bytes_
  bool inside_line_ = false;
  bool broken_ = false;
};

}  // namespace titan::launch
