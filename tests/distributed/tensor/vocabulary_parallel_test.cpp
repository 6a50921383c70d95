#include "titan/loss/vocabulary_parallel.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/dtensor/dtensor.h"
#include "titan/loss/cross_entropy.h"

namespace titan::loss {
namespace {

using test::random;

// Large logits, where a softmax without its shift overflows; a token that does not count; vocabularies that 3 ranks
// share unevenly, one of them so small that a rank has none of it.
TEST(VocabularyParallel, LossAndGradientAreThoseOfWholeLogits) {
  for (const int64_t vocabulary : {7, 12, 2}) {
    at::Tensor logits = random({5, vocabulary}, 1) * 40;
    logits.set_requires_grad(true);
    const at::Tensor labels = at::tensor({0L, vocabulary - 1, kIgnoreIndex, 1L, vocabulary / 2}, at::kLong);
    const at::Tensor expected = at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum, kIgnoreIndex);
    (expected * 0.25).backward();
    for (const int64_t num_ranks : {1, 2, 3}) {
      test::run_ranks(num_ranks, "shm", [&](const std::shared_ptr<distributed::World>& world) {
        const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", num_ranks}}));
        for (const dtensor::Placement& placement : {dtensor::shard(1), dtensor::replicate()}) {
          const at::Tensor spread = dtensor::distribute_tensor(logits.detach(), mesh, {placement});
          spread.set_requires_grad(true);
          // A copy: the loss is made in the logits' memory.
          const at::Tensor loss = cross_entropy_(spread * 1, labels, 0.25);
          const double sum = 0.25 * expected.item<double>();
          EXPECT_NEAR(loss.item<double>(), sum, 1e-6 * std::max(1.0, sum)) << vocabulary << " " << num_ranks;
          EXPECT_TRUE(at::allclose(dtensor::full_tensor(spread.grad()), logits.grad(), 1e-5, 1e-7))
              << vocabulary << " " << num_ranks;
        }
      });
    }
  }
}

TEST(VocabularyParallel, RefusesLabelsOfNoToken) {
  test::run_ranks(2, "shm", [](const std::shared_ptr<distributed::World>& world) {
    const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", 2}}));
    const at::Tensor spread = dtensor::distribute_tensor(random({1, 8}, 1), mesh, {dtensor::shard(1)});
    EXPECT_THROW(cross_entropy_(spread, at::tensor({8L}, at::kLong), 1.0), c10::ValueError);
  });
}

TEST(VocabularyParallel, NoRankGathersLogits) {
  test::run_ranks(2, "shm", [](const std::shared_ptr<distributed::World>& world) {
    const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", 2}}));
    const at::Tensor spread = dtensor::distribute_tensor(random({3, 8}, 1), mesh, {dtensor::shard(1)});
    spread.set_requires_grad(true);
    cross_entropy_(spread * 1, at::zeros({3}, at::kLong), 1.0);
    EXPECT_EQ(dtensor::placements_of(spread.grad()), dtensor::Placements{dtensor::shard(1)});
  });
}

}  // namespace
}  // namespace titan::loss
