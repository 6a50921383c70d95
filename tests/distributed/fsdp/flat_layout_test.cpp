#include "titan/parallel/fsdp/flat_layout.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace titan::parallel {
namespace {

using test::random;

// Over 3 ranks: chunks of 3, 3, 1 rows; of 1, 1, 0; of 2, 2, 2; of 1, 0, 0; none at all.
const std::vector<std::vector<int64_t>> kSizes{{7, 5}, {2}, {6, 3, 2}, {1, 4}, {0, 4}};
constexpr int64_t kNumShards = 3;

std::vector<at::Tensor> tensors(at::ScalarType dtype = at::kFloat) {
  std::vector<at::Tensor> all;
  for (size_t i = 0; i < kSizes.size(); ++i) all.push_back(random(kSizes[i], i).to(dtype));
  return all;
}

// torch.chunk's: ceil(rows / ranks) rows each, as long as there are any.
at::Tensor chunk_of(const at::Tensor& tensor, int64_t rank) {
  const int64_t rows = tensor.size(0), each = (rows + kNumShards - 1) / kNumShards;
  const int64_t begin = std::min(rank * each, rows);
  return tensor.narrow(0, begin, std::min(each, rows - begin));
}

TEST(FlatLayout, ShardsBecomeTheWholeAgain) {
  const FlatLayout layout(kSizes, kNumShards);
  const auto whole_tensors = tensors();
  const at::Tensor gathered = at::full({kNumShards, layout.shard_numel()}, 99.0);
  for (int64_t rank = 0; rank < kNumShards; ++rank) {
    std::vector<at::Tensor> chunks;
    for (const at::Tensor& tensor : whole_tensors) chunks.push_back(chunk_of(tensor, rank));
    layout.copy_shards_in(gathered[rank], chunks);
  }
  const at::Tensor whole = at::zeros({layout.whole_numel()});
  layout.copy_out(whole, gathered.view({-1}));
  for (size_t i = 0; i < kSizes.size(); ++i) {
    EXPECT_TRUE(at::equal(layout.in_whole(whole, i), whole_tensors[i])) << i;
    EXPECT_TRUE(layout.in_whole(whole, i).is_contiguous()) << i;
  }
}

TEST(FlatLayout, EachRankGetsItsRowsOfTheGradients) {
  const FlatLayout layout(kSizes, kNumShards);
  auto gradients = tensors(at::kBFloat16);
  gradients[2] = gradients[2].transpose(0, 1).contiguous().transpose(0, 1);  // other strides
  const at::Tensor gathered = at::full({kNumShards * layout.shard_numel()}, 99.0);
  layout.copy_gradients_in(gathered, gradients);
  for (int64_t rank = 0; rank < kNumShards; ++rank) {
    const at::Tensor shard = gathered.view({kNumShards, -1})[rank];
    for (size_t i = 0; i < kSizes.size(); ++i) {
      const at::Tensor expected = chunk_of(gradients[i], rank).to(at::kFloat);
      EXPECT_TRUE(at::equal(layout.in_shard(shard, i, expected.size(0)), expected)) << rank << " " << i;
    }
  }
}

TEST(FlatLayout, NoGradientIsZero) {
  const FlatLayout layout(kSizes, kNumShards);
  const at::Tensor gathered = at::full({kNumShards * layout.shard_numel()}, 99.0);
  layout.copy_gradients_in(gathered, std::vector<at::Tensor>(kSizes.size()));
  const at::Tensor shard = gathered.view({kNumShards, -1})[0];
  for (size_t i = 0; i + 1 < kSizes.size(); ++i) {
    EXPECT_EQ(layout.in_shard(shard, i, 1).abs().sum().item<float>(), 0) << i;
  }
}

}  // namespace
}  // namespace titan::parallel
