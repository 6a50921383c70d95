#include "titan/device/transfer.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace titan::device {
namespace {

TEST(Transfer, OnTheCpuNothingIsCopied) {
  const at::Tensor x = test::random({3, 5}, 1);
  EXPECT_TRUE(upload(x, at::kCPU).is_same(x));
}

TEST(Transfer, NumbersComeBackInOrder) {
  Readback readback(at::full({3}, 2.5, at::kDouble).cumsum(0));
  EXPECT_EQ(readback.wait(), (std::vector<double>{2.5, 5, 7.5}));
  EXPECT_EQ(readback.wait(), (std::vector<double>{2.5, 5, 7.5}));
}

}  // namespace
}  // namespace titan::device
