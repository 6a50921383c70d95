// Activation checkpointing together with FSDP and tensor parallelism: the same bits, and what is sent again.
#include <ATen/ops/randint.h>
#include <gtest/gtest.h>

#include "tests/distributed/dtensor/counted_backend.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/activation_checkpoint/apply.h"
#include "titan/dtensor/dtensor.h"
#include "titan/loss/cross_entropy.h"
#include "titan/models/decoder.h"
#include "titan/models/decoder_sharding.h"
#include "titan/nn/init.h"
#include "titan/parallel/fsdp/fully_shard.h"
#include "titan/parallel/tensor/parallelize_module.h"

namespace titan::models {
namespace {

using test::Counts;
using World = std::shared_ptr<distributed::World>;

constexpr int64_t kLayers = 3, kBatch = 2, kSeq = 12, kVocabulary = 50;

struct Setting {
  std::string name;
  std::optional<ShardingOptions> tensor_parallel;  // otherwise FSDP
  std::optional<at::ScalarType> param_dtype;
  bool reshard_after_forward = true;
  int num_microbatches = 1;
};
void PrintTo(const Setting& setting, std::ostream* out) { *out << setting.name; }

struct Step {
  std::vector<at::Tensor> gradients;  // of this rank
  Counts counts;                      // of the last step
};

config::ActivationCheckpoint mode(const std::string& name, const std::string& option = "2") {
  config::ActivationCheckpoint ac;
  ac.mode = name;
  ac.selective_ac_option = option;
  return ac;
}

// The second of two steps without update, so that modes which measure have chosen.
Step run(const World& world, const Setting& setting, const config::ActivationCheckpoint& ac) {
  const distributed::DeviceMesh mesh(world, {{setting.tensor_parallel ? "tp" : "dp_shard", world->size()}});
  const DecoderSizes sizes{.dim = 24,
                           .n_layers = kLayers,
                           .n_heads = 6,
                           .n_kv_heads = 6,
                           .head_dim = 4,
                           .ffn_hidden_dim = 36,
                           .vocab_size = kVocabulary,
                           .norm_eps = 1e-5,
                           .rope_theta = 10000};
  Decoder model(sizes, kSeq, at::kFloat);
  if (setting.tensor_parallel) {
    parallel::parallelize_module(model, dtensor::Mesh(mesh), decoder_sharding_plan(kLayers, *setting.tensor_parallel));
  }
  // Times differ from rank to rank; what is kept must not.
  const activation_checkpoint::Surroundings surroundings{.agree = [&](std::vector<double>& values) {
    std::fill(values.begin(), values.end(), values.size() == 1 ? values.front() : 1.0);
  }};
  const auto applied = apply_activation_checkpoint(model.parts().blocks, ac, surroundings);
  std::unique_ptr<parallel::FullyShard> fsdp;
  if (!setting.tensor_parallel) {
    std::vector<parallel::FsdpUnit> units;
    for (const auto& modules : {model.parts().input, model.parts().blocks, model.parts().output}) {
      for (nn::Module* module : modules) {
        units.push_back({.modules = {module}, .reshard_after_forward = setting.reshard_after_forward});
      }
    }
    fsdp = std::make_unique<parallel::FullyShard>(
        units, mesh, parallel::FsdpOptions{.param_dtype = setting.param_dtype, .reduce_dtype = at::kFloat});
  }
  model.to_empty(at::kCPU);
  model.init_weights(nn::Initializer(1));

  Step step;
  for (int i = 0; i < 2; ++i) {
    for (nn::Parameter* parameter : model.parameters()) parameter->get().mutable_grad().reset();
    step.counts = test::counts_of([&] {
      for (int microbatch = 0; microbatch < setting.num_microbatches; ++microbatch) {
        const bool last = microbatch + 1 == setting.num_microbatches;
        applied.before_microbatch(last);
        if (fsdp != nullptr) fsdp->before_microbatch(last);
        const uint64_t seed = 7 + microbatch + (setting.tensor_parallel ? 0 : 10 * world->rank());
        const at::Tensor tokens =
            at::randint(kVocabulary, {kBatch, kSeq}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kLong);
        loss::chunked_cross_entropy(model(tokens), tokens, *model.output, 1.0, /*num_chunks=*/3).backward();
      }
      if (fsdp != nullptr) fsdp->finish();
    });
  }
  for (const nn::Parameter* parameter : model.parameters()) {
    step.gradients.push_back(dtensor::local_of(parameter->get().grad()).clone());
  }
  return step;
}

void expect_bit_equal(const Step& actual, const Step& expected) {
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (size_t i = 0; i < actual.gradients.size(); ++i) {
    EXPECT_TRUE(at::equal(actual.gradients[i], expected.gradients[i])) << i;
  }
}

void on_counted_ranks(int64_t num_ranks, const std::function<void(const World&)>& body) {
  test::run_ranks(num_ranks, "shm", body, {.make_backend = test::counted(distributed::backend_factory("shm"))});
}

class WithSharding : public testing::TestWithParam<Setting> {};

// Parameters are gathered for the backward anyway; what is computed again finds them there.
TEST_P(WithSharding, NothingIsSentAgain) {
  on_counted_ranks(2, [](const World& world) {
    const Step plain = run(world, GetParam(), mode("none"));
    for (const auto& ac : {mode("full"), mode("selective", "2"), mode("selective", "op"), mode("memory_budget")}) {
      SCOPED_TRACE(ac.mode + " " + ac.selective_ac_option);
      const Step again = run(world, GetParam(), ac);
      expect_bit_equal(again, plain);
      EXPECT_EQ(again.counts, plain.counts);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Settings, WithSharding,
                         testing::Values(Setting{.name = "fp32"}, Setting{.name = "bf16", .param_dtype = at::kBFloat16},
                                         Setting{.name = "never_resharded", .reshard_after_forward = false},
                                         Setting{.name = "accumulating", .num_microbatches = 3}),
                         [](const auto& info) { return info.param.name; });

struct Again {
  int64_t all_gather = 0, reduce_scatter = 0, all_reduce = 0;  // a block, beside the plain ones
};

// What a recomputed block sends: all of its forward, or gathers only where results of reductions are kept.
TEST(WithTensorParallel, ReductionsAreNotRepeatedWhereTheirResultsAreKept) {
  on_counted_ranks(2, [](const World& world) {
    const auto expect = [&](const ShardingOptions& options, const config::ActivationCheckpoint& ac,
                            const Again& per_block) {
      const Setting setting{.tensor_parallel = options};
      const Step plain = run(world, setting, mode("none")), again = run(world, setting, ac);
      expect_bit_equal(again, plain);
      EXPECT_EQ(again.counts.all_gather - plain.counts.all_gather, kLayers * per_block.all_gather);
      EXPECT_EQ(again.counts.reduce_scatter - plain.counts.reduce_scatter, kLayers * per_block.reduce_scatter);
      EXPECT_EQ(again.counts.all_reduce - plain.counts.all_reduce, kLayers * per_block.all_reduce);
    };
    expect({}, mode("full"), {.all_gather = 2, .reduce_scatter = 2});
    expect({}, mode("selective", "op"), {.all_gather = 2});
    expect({.sequence_parallel = false}, mode("full"), {.all_reduce = 2});
    expect({.sequence_parallel = false}, mode("selective", "op"), {});
    // The last reduction is the block's output, which its own backward does not need.
    config::ActivationCheckpoint early = mode("full");
    early.early_stop = true;
    expect({}, early, {.all_gather = 2, .reduce_scatter = 1});
  });
}

TEST(WithTensorParallel, EveryModeGivesTheSameBits) {
  on_counted_ranks(2, [](const World& world) {
    for (const ShardingOptions& options : {ShardingOptions{}, ShardingOptions{.asynchronous = true}}) {
      const Setting setting{.tensor_parallel = options};
      const Step plain = run(world, setting, mode("none"));
      for (const auto& ac : {mode("full"), mode("selective", "2"), mode("selective", "op"), mode("memory_budget")}) {
        SCOPED_TRACE(ac.mode + " " + ac.selective_ac_option);
        expect_bit_equal(run(world, setting, ac), plain);
      }
    }
  });
}

}  // namespace
}  // namespace titan::models
