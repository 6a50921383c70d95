#include "titan/device/host_memory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <vector>

namespace titan::device {
namespace {

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// Tensors of a step: many sizes, freed together.
void make_and_free() {
  std::vector<at::Tensor> tensors;
  for (const int64_t mebibytes : {1, 31, 2, 30, 16, 80, 29}) {
    tensors.push_back(at::full({mebibytes << 18}, 1.0F, at::kFloat));
  }
}

TEST(KeepFreedMemory, LetsAStepHaveThePagesOfTheOnesBefore) {
  keep_freed_memory();
  for (int warm_up = 0; warm_up < 3; ++warm_up) make_and_free();
  const int64_t before = page_faults();
  make_and_free();
  EXPECT_LT(page_faults() - before, 100);  // of 48,000 pages
}

TEST(KeepFreedMemory, ServesTensorsOfEverySize) {
  keep_freed_memory();
  for (const int64_t numel : {0, 1, 100, 32767, 32768, 32769, 5000001}) {
    at::Tensor tensor = at::full({numel}, 2.0F, at::kFloat);
    EXPECT_EQ(tensor.sum().item<double>(), 2.0 * static_cast<double>(numel));
    tensor.resize_({2 * numel});
    EXPECT_EQ(tensor.narrow(0, 0, numel).sum().item<double>(), 2.0 * static_cast<double>(numel));
  }
}

TEST(KeepFreedMemory, SaysWhatItCannotServe) {
  keep_freed_memory();
  EXPECT_THROW(at::empty({int64_t{1} << 60}, at::kChar), c10::Error);
}

}  // namespace
}  // namespace titan::device
