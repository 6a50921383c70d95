#include "titan/profiling/device_time.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace titan::profiling {
namespace {

constexpr const char* kProduct = "nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NNT";
constexpr const char* kCopy = "Memcpy HtoD (Pinned -> Device)";
constexpr const char* kReduce = "ncclDevKernel_AllReduce_Sum_f32_RING_LL";

int64_t ns(double seconds) { return static_cast<int64_t>(1e9 * seconds); }

TEST(DeviceTime, IsAPartitionOfTheSpan) {
  const std::vector<KernelInterval> kernels = {
      {kProduct, ns(10), ns(11)}, {kCopy, ns(11), ns(11.5)}, {kProduct, ns(13), ns(15)}};
  const TimeByCategory time = time_by_category(kernels);
  EXPECT_DOUBLE_EQ(time[Category::kMatmul], 3);
  EXPECT_DOUBLE_EQ(time[Category::kOther], 0.5);
  EXPECT_DOUBLE_EQ(time.idle_seconds, 1.5);
  EXPECT_DOUBLE_EQ(time.total(), 5);
}

// Communication from 0 to 4, in whatever order kernels come: hidden behind a product from 1 to 2 and from 3 to 6.
TEST(DeviceTime, CommunicationIsWhatIsNotHidden) {
  const std::vector<KernelInterval> kernels = {
      {kProduct, ns(3), ns(6)}, {kReduce, ns(0), ns(4)}, {kProduct, ns(1), ns(2)}};
  const TimeByCategory time = time_by_category(kernels);
  EXPECT_DOUBLE_EQ(time[Category::kCommunication], 2);
  EXPECT_DOUBLE_EQ(time[Category::kMatmul], 4);
  EXPECT_DOUBLE_EQ(time.idle_seconds, 0);
}

TEST(DeviceTime, KernelsOfOneCategoryThatOverlapCountOnce) {
  const std::vector<KernelInterval> kernels = {
      {kProduct, ns(0), ns(3)}, {kProduct, ns(1), ns(2)}, {kProduct, ns(2), ns(4)}, {kProduct, ns(4), ns(4)}};
  EXPECT_DOUBLE_EQ(time_by_category(kernels)[Category::kMatmul], 4);
}

TEST(DeviceTime, NoKernelsTakeNoTime) { EXPECT_EQ(time_by_category({}).total(), 0); }

// Twice: Kineto crashes at the second recording unless it is prepared anew.
TEST(DeviceTime, OnACpuNothingIsRecordedButTheWorkIsDone) {
  const at::Tensor a = at::ones({3, 3});
  at::Tensor product;
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(record_kernels([&] { product = at::mm(a, a); }).empty());
    EXPECT_EQ(product[0][0].item<float>(), 3);
  }
}

TEST(DeviceTime, AFailureEndsTheRecording) {
  EXPECT_THROW(record_kernels([] { throw std::runtime_error("no"); }), std::runtime_error);
  EXPECT_TRUE(record_kernels([] {}).empty());
}

}  // namespace
}  // namespace titan::profiling
