#include "titan/distributed/shm/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

namespace titan::distributed::shm {
namespace {

TEST(Process, OfThisOneRuns) {
  EXPECT_EQ(Process::self().pid, getpid());
  EXPECT_TRUE(Process::self().runs());
}

TEST(Process, OfAnotherThatGotTheSameIdDoesNotRun) {
  Process process = Process::self();
  process.start_time -= 1;
  EXPECT_FALSE(process.runs());
}

TEST(Process, IsFoundWhateverItsNameIs) {
  char before[16] = {};
  prctl(PR_GET_NAME, before);
  prctl(PR_SET_NAME, ") Z 1 (");
  EXPECT_TRUE(Process::self().runs());
  prctl(PR_SET_NAME, before);
}

// Nobody has asked for its exit code yet.
TEST(Process, ThatWasKilledDoesNotRun) {
  const pid_t child = fork();
  if (child == 0) {
    while (true) pause();
  }
  Process process{child, 0};
  std::ifstream file("/proc/" + std::to_string(child) + "/stat");
  std::string field;
  for (int i = 1; i <= 22; ++i) file >> field;  // its name has no spaces
  process.start_time = std::stoull(field);
  EXPECT_TRUE(process.runs());
  kill(child, SIGKILL);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (process.runs() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_FALSE(process.runs());
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(process.runs());
}

}  // namespace
}  // namespace titan::distributed::shm
