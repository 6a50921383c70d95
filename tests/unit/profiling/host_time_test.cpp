#include "titan/profiling/host_time.h"

#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <chrono>
#include <stdexcept>
#include <thread>

namespace titan::profiling {
namespace {

// At least this long; how much longer is the machine's affair.
constexpr double kPause = 0.02;
void pause() { std::this_thread::sleep_for(std::chrono::duration<double>(kPause)); }

TEST(HostTime, IsAPartitionOfTheWallTime) {
  const at::Tensor a = at::ones({64, 64}).requires_grad_();
  std::vector<at::Tensor> gradients = {at::ones({64}), at::ones({3})};
  const auto begin = std::chrono::steady_clock::now();
  const TimeByCategory time = host_time_of([&] {
    at::linear(a, a).sum().backward();
    at::_foreach_mul_(gradients, 0.5);
    pause();
  });
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_GT(time[Category::kMatmul], 0);
  EXPECT_GT(time[Category::kOther], 0);
  EXPECT_GT(time[Category::kOptimizer], 0);
  EXPECT_EQ(time[Category::kAttention], 0);
  EXPECT_EQ(time[Category::kCommunication], 0);
  EXPECT_GE(time.idle_seconds, kPause);
  EXPECT_LE(time.total(), wall);
}

TEST(HostTime, WaitingForRanksIsCommunicationWhereverItHappens) {
  const TimeByCategory time = host_time_of([] {
    RECORD_FUNCTION("aten::mm", std::vector<c10::IValue>());
    [] {
      RECORD_USER_SCOPE("titan::communicate");
      pause();
    }();
    pause();
  });
  EXPECT_GE(time[Category::kCommunication], kPause);
  EXPECT_GE(time[Category::kMatmul], kPause);
  EXPECT_LT(time.idle_seconds, kPause);
}

TEST(HostTime, WhatAnOperatorCallsCountsWithIt) {
  const TimeByCategory time = host_time_of([] {
    RECORD_FUNCTION("aten::_foreach_mul_", std::vector<c10::IValue>());
    [] {
      RECORD_FUNCTION("aten::mm", std::vector<c10::IValue>());
      pause();
    }();
  });
  EXPECT_GE(time[Category::kOptimizer], kPause);
  EXPECT_EQ(time[Category::kMatmul], 0);
}

TEST(HostTime, InsideACompositeTheInnerOperatorDecides) {
  const TimeByCategory time = host_time_of([] {
    RECORD_FUNCTION("aten::matmul", std::vector<c10::IValue>());
    [] {
      RECORD_FUNCTION("aten::mm", std::vector<c10::IValue>());
      pause();
    }();
  });
  EXPECT_GE(time[Category::kMatmul], kPause);
  EXPECT_LT(time[Category::kOther], kPause);
}

// A backend's threads take the callbacks with them.
TEST(HostTime, OtherThreadsDoNotCount) {
  const at::Tensor a = at::ones({64, 64});
  const TimeByCategory time = host_time_of([&] {
    const at::ThreadLocalState state;
    std::thread([&] {
      const at::ThreadLocalStateGuard guard(state);
      at::mm(a, a);
    }).join();
  });
  EXPECT_EQ(time[Category::kMatmul], 0);
  EXPECT_GT(time.idle_seconds, 0);
}

// Annotations of others, which may end anywhere, open no category.
TEST(HostTime, ForeignScopesDoNotCount) {
  const TimeByCategory time = host_time_of([] {
    RECORD_USER_SCOPE("gloo:all_reduce");
    pause();
  });
  EXPECT_GE(time.idle_seconds, kPause);
  EXPECT_EQ(time[Category::kOther], 0);
}

TEST(HostTime, AFailureLeavesTheThreadAsItWas) {
  const at::Tensor a = at::ones({3, 3});
  EXPECT_THROW(host_time_of([&] {
                 at::mm(a, a);
                 throw std::runtime_error("no");
               }),
               std::runtime_error);
  EXPECT_GT(host_time_of([&] { at::mm(a, a); })[Category::kMatmul], 0);
}

}  // namespace
}  // namespace titan::profiling
