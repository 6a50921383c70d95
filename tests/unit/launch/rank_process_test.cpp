#include "titan/launch/rank_process.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "tests/support/launched_ranks.h"

namespace titan::launch {
namespace {

std::vector<std::string> shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

bool reaches(RankProcess& process, RankProcess::State state) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (process.update() != state) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    poll(nullptr, 0, 2);
  }
  return true;
}

std::string output(const RankProcess& process) {
  std::string text;
  std::array<char, 4096> buffer;
  pollfd entry{process.output_fds()[0], POLLIN, 0};
  while (poll(&entry, 1, 10000) == 1) {
    const ssize_t size = read(entry.fd, buffer.data(), buffer.size());
    if (size <= 0) break;
    text.append(buffer.data(), static_cast<size_t>(size));
  }
  return text;
}

TEST(RankProcess, EndsWithItsExitCodeOrItsSignal) {
  RankProcess exits(shell("exit 7"), {}), dies(shell("kill -SEGV $$"), {});
  ASSERT_TRUE(reaches(exits, RankProcess::State::kEnded));
  ASSERT_TRUE(reaches(dies, RankProcess::State::kEnded));
  EXPECT_EQ(exits.ending().exit_code, 7);
  EXPECT_EQ(exits.ending().signal, 0);
  EXPECT_EQ(dies.ending().signal, SIGSEGV);
  EXPECT_TRUE(dies.ending().failed());
}

TEST(RankProcess, HasItsOwnEnvironmentGroupAndAnEmptyStdin) {
  RankProcess process(shell("read line || echo empty $A"), {"A=1 2", "PATH=/usr/bin:/bin"});
  EXPECT_EQ(process.pid(), getpgid(process.pid()));
  EXPECT_NE(output(process).find("empty 1 2\n"), std::string::npos);
}

// The first one's pipes are open while the second starts.
TEST(RankProcess, InheritsNoPipeOfAnotherRank) {
  RankProcess first({"/bin/ls", "/proc/self/fd"}, {}), second({"/bin/ls", "/proc/self/fd"}, {});
  EXPECT_EQ(output(second), output(first));
}

TEST(RankProcess, StopsAndContinues) {
  RankProcess process(shell("while :; do sleep 0.1; done"), {"PATH=/usr/bin:/bin"});
  process.send(SIGSTOP);
  ASSERT_TRUE(reaches(process, RankProcess::State::kStopped));
  EXPECT_EQ(process.stop_signal(), SIGSTOP);
  process.send(SIGCONT);
  ASSERT_TRUE(reaches(process, RankProcess::State::kRunning));
  process.send(SIGSTOP);
  process.send_to_group(SIGKILL);  // works on what stands still
  ASSERT_TRUE(reaches(process, RankProcess::State::kEnded));
  EXPECT_EQ(process.ending().signal, SIGKILL);
}

TEST(RankProcess, TakesItsChildrenWithIt) {
  RankProcess process(shell("sleep 1000 & echo $!"), {"PATH=/usr/bin:/bin"});
  ASSERT_TRUE(reaches(process, RankProcess::State::kEnded));
  const pid_t child = std::stoi(output(process));
  EXPECT_GT(child, 0);
  EXPECT_TRUE(test::goes_away(child));
}

TEST(RankProcess, AProgramThatIsNotThereIsAnErrorThatNamesIt) {
  try {
    RankProcess process({"/nowhere/titan"}, {});
    FAIL();
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("cannot start /nowhere/titan: No such file"), std::string::npos);
  }
}

TEST(RankProcess, SignalsHaveNames) {
  EXPECT_EQ(signal_name(SIGKILL), "SIGKILL");
  EXPECT_EQ(signal_name(SIGRTMIN + 3), "signal " + std::to_string(SIGRTMIN + 3));
}

}  // namespace
}  // namespace titan::launch
