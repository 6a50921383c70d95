#include "titan/train/memory_use.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace titan::train {
namespace {

constexpr int64_t kGib = int64_t{1} << 30;

c10::OutOfMemoryError error(const std::string& message) {
  return c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, message);
}

TEST(MemoryUse, NamesTheLargestHoldersFirst) {
  EXPECT_EQ(describe_out_of_memory(error("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity "
                                         "of 79.18 GiB of which 1.00 GiB is free."),
                                   "step 3", "NVIDIA H100", 70 * kGib, 80 * kGib,
                                   {{"parameters", 5 * kGib}, {"gradients", 0}, {"optimizer states", 10 * kGib}}),
            "step 3: out of memory on NVIDIA H100: 2.50 GiB more were asked for; 70.00 GiB of 80.00 GiB were in use: "
            "activations and temporaries 55.00 GiB, optimizer states 10.00 GiB, parameters 5.00 GiB. Lower "
            "training.local_batch_size or training.seq_len, raise training.loss_chunks, or spread the model over more "
            "ranks");
}

TEST(MemoryUse, SaysSoWhereTheAllocatorDoesNotSayHowMuch) {
  const std::string line = describe_out_of_memory(error("no memory"), "set-up", "cpu", 0, kGib, {});
  EXPECT_EQ(line.find("set-up: out of memory on cpu: more memory was asked for; 0.00 GiB of 1.00 GiB were in use. "),
            0U)
      << line;
}

TEST(MemoryUse, CountsEachStorageOnce) {
  const at::Tensor a = at::zeros({256}), b = at::zeros({10});
  EXPECT_EQ(bytes_of({{"a", a}, {"view of a", a.view({16, 16})}, {"b", b}}, at::kCPU), 1024 + 40);
  EXPECT_EQ(bytes_of({{"a", a}}, at::kMeta), 0);
}

}  // namespace
}  // namespace titan::train
