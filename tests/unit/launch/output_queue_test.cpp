#include "titan/launch/output_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>

namespace titan::launch {
namespace {

class Pipe : public testing::Test {
 protected:
  Pipe() {
    EXPECT_EQ(pipe(ends_.data()), 0);
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  }
  ~Pipe() override {
    for (const int fd : ends_) close(fd);
  }
  std::string read_all() {
    std::string text;
    std::array<char, 4096> buffer;
    for (ssize_t size = 0; (size = read(ends_[0], buffer.data(), buffer.size())) > 0;) text.append(buffer.data(), size);
    return text;
  }
  std::array<int, 2> ends_{};
};

using OutputQueueTest = Pipe;

TEST_F(OutputQueueTest, WritesPrefixLineAndNewline) {
  OutputQueue queue(ends_[1]);
  queue.push("[rank0]:", "a");
  queue.push("", "");
  EXPECT_TRUE(queue.write_some());
  EXPECT_EQ(read_all(), "[rank0]:a\n\n");
  EXPECT_TRUE(queue.empty());
}

// A pipe nobody reads takes 64 KiB; a write that blocked would hang this test.
TEST_F(OutputQueueTest, NeverBlocksAndLosesNothing) {
  OutputQueue queue(ends_[1]);
  std::string expected;
  for (int i = 0; !queue.full(); ++i) {
    const std::string line = std::to_string(i) + std::string(static_cast<size_t>(i) % 9000, 'x');
    queue.push("[rank1]:", line);
    expected += "[rank1]:" + line + "\n";
  }
  std::string got;
  for (int turns = 0; !queue.empty() && turns < 10000; ++turns) {
    ASSERT_TRUE(queue.write_some());
    got += read_all();
    EXPECT_EQ(queue.inside_line(), got.back() != '\n');
  }
  EXPECT_EQ(got, expected);
  EXPECT_FALSE(queue.full());
}

TEST_F(OutputQueueTest, ABrokenStreamIsReportedOnceAndThenDropped) {
  signal(SIGPIPE, SIG_IGN);
  OutputQueue queue(ends_[1]);
  queue.push("", "a");
  close(ends_[0]);
  EXPECT_FALSE(queue.write_some());
  queue.push("", "b");
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.write_some());
  ends_[0] = dup(ends_[1]);
  signal(SIGPIPE, SIG_DFL);
}

}  // namespace
}  // namespace titan::launch
