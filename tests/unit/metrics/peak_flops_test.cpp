#include "titan/metrics/peak_flops.h"

#include <gtest/gtest.h>

namespace titan::metrics {
namespace {

TEST(PeakFlops, KnowsTheNamesThatCudaGives) {
  EXPECT_EQ(peak_flops("NVIDIA A100-SXM4-80GB"), 312e12);
  EXPECT_EQ(peak_flops("NVIDIA H100 80GB HBM3"), 989e12);
  EXPECT_EQ(peak_flops("NVIDIA H100 PCIe"), 756e12);
  EXPECT_EQ(peak_flops("NVIDIA H100 NVL"), 835e12);
  EXPECT_EQ(peak_flops("NVIDIA H200"), 989e12);
  EXPECT_EQ(peak_flops("NVIDIA H20"), 148e12);
  EXPECT_EQ(peak_flops("NVIDIA B200"), 2.25e15);
  EXPECT_EQ(peak_flops("NVIDIA L40S"), 362e12);
}

TEST(PeakFlops, UnknownDevicesCountAsAnA100WithOneWarning) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(peak_flops("cpu"), 312e12);
  const std::string output = testing::internal::GetCapturedStdout();
  EXPECT_TRUE(output.ends_with("WARNING - Peak flops undefined for: cpu, fallback to A100\n")) << output;
}

}  // namespace
}  // namespace titan::metrics
