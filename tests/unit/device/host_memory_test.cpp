#include "titan/device/host_memory.h"

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

// Tensors of a step: many sizes, the largest just below what is kept, freed together.
void make_and_free() {
  std::vector<at::Tensor> tensors;
  for (const int64_t mebibytes : {1, 31, 2, 30, 16, 8, 29}) {
    tensors.push_back(at::full({mebibytes << 18}, 1.0F, at::kFloat));
  }
}

TEST(KeepFreedMemory, LetsAStepHaveThePagesOfTheOnesBefore) {
  keep_freed_memory();
  for (int warm_up = 0; warm_up < 3; ++warm_up) make_and_free();
  const int64_t before = page_faults();
  make_and_free();
  EXPECT_LT(page_faults() - before, 100);  // of 30,000 pages
}

}  // namespace
}  // namespace titan::device
