// What tensor parallelism sends, counted: per block of a decoder, and for the loss.
#include <ATen/ops/randint.h>
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/counted_backend.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/dtensor/dtensor.h"
#include "titan/loss/cross_entropy.h"
#include "titan/models/decoder.h"
#include "titan/models/decoder_sharding.h"
#include "titan/nn/init.h"
#include "titan/parallel/tensor/parallelize_module.h"

namespace titan::models {
namespace {

using test::Counts;
using World = std::shared_ptr<distributed::World>;

constexpr int64_t kBatch = 2, kSeq = 12, kDim = 24, kVocabulary = 50;
// Activations of a whole sequence.
constexpr int64_t kWhole = kBatch * kSeq * kDim * static_cast<int64_t>(sizeof(float));

struct StepCounts {
  Counts forward, loss, backward;  // the loss's: with its backward down to the hidden states
};

// Of one step of a decoder of `num_layers` on this rank.
StepCounts counts_of_step(const World& world, int64_t num_layers, const ShardingOptions& options) {
  const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"tp", world->size()}}));
  const DecoderSizes sizes{.dim = kDim,
                           .n_layers = num_layers,
                           .n_heads = 6,
                           .n_kv_heads = 6,
                           .head_dim = 4,
                           .ffn_hidden_dim = 36,
                           .vocab_size = kVocabulary,
                           .norm_eps = 1e-5,
                           .rope_theta = 10000};
  Decoder model(sizes, kSeq, at::kFloat);
  parallel::parallelize_module(model, mesh, decoder_sharding_plan(num_layers, options));
  model.to_empty(at::kCPU);
  model.init_weights(nn::Initializer(1));
  const at::Tensor tokens =
      at::randint(kVocabulary, {kBatch, kSeq}, at::make_generator<at::CPUGeneratorImpl>(7), at::kLong);

  StepCounts counts;
  at::Tensor hidden, loss;
  counts.forward = test::counts_of([&] { hidden = model(tokens); });
  counts.loss = test::counts_of(
      [&] { loss = loss::chunked_cross_entropy(hidden, tokens, *model.output, 1.0, /*num_chunks=*/3); });
  counts.backward = test::counts_of([&] { loss.backward(); });
  return counts;
}

void on_counted_ranks(int64_t num_ranks, const std::function<void(const World&)>& body) {
  test::run_ranks(num_ranks, "shm", body, {.make_backend = test::counted(distributed::backend_factory("shm"))});
}

// What the second of two blocks adds.
StepCounts counts_of_block(const World& world, const ShardingOptions& options) {
  const StepCounts two = counts_of_step(world, 2, options), one = counts_of_step(world, 1, options);
  const auto difference = [](const Counts& a, const Counts& b) {
    return Counts{.all_gather = a.all_gather - b.all_gather,
                  .reduce_scatter = a.reduce_scatter - b.reduce_scatter,
                  .all_reduce = a.all_reduce - b.all_reduce,
                  .all_to_all = a.all_to_all - b.all_to_all,
                  .broadcast = a.broadcast - b.broadcast,
                  .sent_messages = a.sent_messages - b.sent_messages,
                  .bytes = a.bytes - b.bytes};
  };
  return {difference(two.forward, one.forward), difference(two.loss, one.loss), difference(two.backward, one.backward)};
}

class Communication : public testing::TestWithParam<int64_t> {};

// The norms' outputs are gathered, the sublayers' outputs are scattered, and the backward mirrors that.
TEST_P(Communication, OfABlockIsTwoGathersAndTwoScattersEachWay) {
  on_counted_ranks(GetParam(), [](const World& world) {
    const StepCounts block = counts_of_block(world, {});
    const Counts expected{.all_gather = 2, .reduce_scatter = 2, .bytes = 2 * kWhole / world->size() + 2 * kWhole};
    EXPECT_EQ(block.forward, expected);
    EXPECT_EQ(block.backward, expected);
    EXPECT_EQ(block.loss, Counts{});
  });
}

TEST_P(Communication, OfABlockOnWholeSequencesIsTwoSumsEachWay) {
  on_counted_ranks(GetParam(), [](const World& world) {
    const StepCounts block = counts_of_block(world, {.sequence_parallel = false});
    const Counts expected{.all_reduce = 2, .bytes = 2 * kWhole};
    EXPECT_EQ(block.forward, expected);
    EXPECT_EQ(block.backward, expected);
  });
}

// The same four, each as a message to every other rank; the backward gathers the two inputs anew for the weights'
// gradients.
TEST_P(Communication, OfABlockThatOverlapsItIsMessages) {
  on_counted_ranks(GetParam(), [](const World& world) {
    const StepCounts block = counts_of_block(world, {.asynchronous = true});
    const int64_t others = world->size() - 1, part = kWhole / world->size();
    EXPECT_EQ(block.forward, (Counts{.sent_messages = 4 * others, .bytes = 4 * others * part}));
    EXPECT_EQ(block.backward, (Counts{.sent_messages = 6 * others, .bytes = 6 * others * part}));
  });
}

// Of 3 chunks' rows, each rank tells the others the largest logit, the sum and the label's: three numbers a token.
TEST_P(Communication, OfTheLossIsThreeNumbersAToken) {
  on_counted_ranks(GetParam(), [](const World& world) {
    const Counts loss = counts_of_step(world, 1, {}).loss;
    EXPECT_EQ(loss, (Counts{.all_reduce = 2 * 3, .bytes = 3 * kBatch * kSeq * 4}));
    const Counts gathered = counts_of_step(world, 1, {.loss_parallel = false}).loss;
    EXPECT_EQ(gathered.all_gather, 3);
    EXPECT_EQ(gathered.all_reduce, 0);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, Communication, testing::Values(2, 3));

}  // namespace
}  // namespace titan::models
