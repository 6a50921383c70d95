#include "titan/device/compute_device.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/run_program.h"
#include "tests/support/tiny_job.h"

namespace titan::device {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;
constexpr char kNone[] = "";

// Runs open_device beside a copy of `library` (kNone: beside nothing), in a system whose driver is the fake one.
test::Finished open(const std::string& library, Environment environment, int local_rank = 0, bool driver = true,
                    int local_world_size = 1) {
  const test::OutputFolder folder;
  const std::filesystem::path program = folder.path() / "open_device";
  std::filesystem::copy(OPEN_DEVICE, program);
  if (!library.empty()) std::filesystem::copy(library, folder.path() / "libtitan_cuda.so");
  environment.emplace_back("LD_LIBRARY_PATH", driver ? DRIVER_FOLDER : "/nonexistent");
  environment.emplace_back("TITAN_TEST", "1");
  return test::run_program({program.string(), std::to_string(local_rank), std::to_string(local_world_size)},
                           {.environment = environment});
}

// The warning is one line of the log; the device's name comes after it.
void expect_cpu_because(const test::Finished& finished, const std::string& why) {
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_NE((finished.out + finished.err).find("The GPU cannot be used, so the CPU is: " + why), std::string::npos)
      << finished.out << finished.err;
  EXPECT_NE(finished.out.find("cpu\n"), std::string::npos) << finished.out;
  EXPECT_LE(std::count(finished.out.begin(), finished.out.end(), '\n'), 2) << finished.out;
}

TEST(ComputeDevice, IsTheGpuWhereOneCanBeUsed) {
  const auto finished = open(FAKE_TITAN_CUDA, {{"FAKE_DEVICES", "4"}}, /*local_rank=*/3, /*driver=*/true, 4);
  EXPECT_EQ(finished.out, "fake 3 expandable_segments:True\n") << finished.err;
}

TEST(ComputeDevice, LeavesTheUsersAllocatorSettingsAlone) {
  EXPECT_EQ(open(FAKE_TITAN_CUDA, {{"PYTORCH_ALLOC_CONF", "backend:native"}}).out, "fake 0 backend:native\n");
  EXPECT_EQ(open(FAKE_TITAN_CUDA, {{"PYTORCH_CUDA_ALLOC_CONF", "backend:native"}}).out, "fake 0 \n");
}

TEST(ComputeDevice, IsTheCpuInSilenceWhereThereIsNoGpu) {
  EXPECT_EQ(open(FAKE_TITAN_CUDA, {}, 0, /*driver=*/false).out, "cpu\n");
  EXPECT_EQ(open(FAKE_TITAN_CUDA, {{"FAKE_DEVICES", "0"}}).out, "cpu\n");  // CUDA_VISIBLE_DEVICES=""
  EXPECT_EQ(open(FAKE_TITAN_CUDA, {{"FAKE_INIT", "100"}}).out, "cpu\n");
  EXPECT_EQ(open(FAKE_TITAN_CUDA, {{"TITAN_DEVICE", "cpu"}}).out, "cpu\n");
}

TEST(ComputeDevice, SaysWhichDriverIsTooOld) {
  expect_cpu_because(open(FAKE_TITAN_CUDA, {{"FAKE_VERSION", "12040"}}),
                     "its driver serves CUDA 12.4 and this program needs 13.0");
}

TEST(ComputeDevice, SaysThatTheProgramWasBuiltWithoutCuda) {
  const auto finished = open(kNone, {});
  expect_cpu_because(finished, "/");
  EXPECT_NE((finished.out + finished.err).find("libtitan_cuda.so is missing: this build was made without nvcc"),
            std::string::npos);
}

TEST(ComputeDevice, NamesTheLibraryThatIsMissing) {
  expect_cpu_because(open(BROKEN_TITAN_CUDA, {}), "libabsent.so: cannot open shared object file");
}

TEST(ComputeDevice, WhatWasAskedForIsThereOrAnError) {
  const auto old = open(FAKE_TITAN_CUDA, {{"TITAN_DEVICE", "cuda"}, {"FAKE_VERSION", "12040"}});
  EXPECT_EQ(old.exit_code, 1);
  EXPECT_EQ(old.err.find("TITAN_DEVICE: cuda cannot be used: its driver serves CUDA 12.4"), 0U) << old.err;
  const auto none = open(FAKE_TITAN_CUDA, {{"TITAN_DEVICE", "cuda"}}, 0, /*driver=*/false);
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_EQ(none.err.find("TITAN_DEVICE: cuda was asked for, but there is no NVIDIA driver"), 0U) << none.err;
  const auto odd = open(FAKE_TITAN_CUDA, {{"TITAN_DEVICE", "tpu"}});
  EXPECT_EQ(odd.err, "TITAN_DEVICE: expected auto, cpu or cuda, got 'tpu'\n");
}

TEST(ComputeDevice, IsSharedInTurnsByMoreRanksThanGpus) {
  const auto first = open(FAKE_TITAN_CUDA, {{"FAKE_DEVICES", "2"}}, /*local_rank=*/0, /*driver=*/true, 5);
  EXPECT_NE((first.out + first.err).find("5 ranks share 2 GPUs on this machine, and talk through its memory"),
            std::string::npos)
      << first.out << first.err;
  const auto last = open(FAKE_TITAN_CUDA, {{"FAKE_DEVICES", "2"}}, /*local_rank=*/4, /*driver=*/true, 5);
  EXPECT_EQ(last.out, "fake 0 expandable_segments:Trueshared\n") << last.err;
  const auto enough = open(FAKE_TITAN_CUDA, {{"FAKE_DEVICES", "2"}}, /*local_rank=*/1, /*driver=*/true, 2);
  EXPECT_EQ(enough.out, "fake 1 expandable_segments:True\n") << enough.err;
}

}  // namespace
}  // namespace titan::device
