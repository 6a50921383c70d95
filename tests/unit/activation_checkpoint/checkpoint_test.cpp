// A checkpointed forward and its backward: bit-equal to the plain one in every mode, with less kept; and what happens
// when the second run is not like the first.
#include "titan/activation_checkpoint/checkpoint.h"

#include <ATen/Context.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "tests/support/tensors.h"
#include "tests/unit/activation_checkpoint/block.h"
#include "titan/activation_checkpoint/kept_results.h"
#include "titan/activation_checkpoint/selective_operators.h"
#include "titan/dtensor/counting_mode.h"
#include "titan/parallel/mixed_precision.h"
#include "titan/profiling/flop_counter.h"

namespace titan::activation_checkpoint {
namespace {

using Counts = std::map<std::string, int64_t>;
using CountsOf = std::vector<std::shared_ptr<const CheckpointCounts>>;

const int64_t kSeq = 5;

std::vector<at::Tensor> gradients_of(test::Blocks& blocks, const at::Tensor& x, bool twice = false) {
  for (nn::Parameter* parameter : blocks.parameters()) parameter->get().mutable_grad().reset();
  const at::Tensor leaf = x.detach().clone().set_requires_grad(true);
  const at::Tensor freqs_cis = nn::precompute_freqs_cis(8, kSeq, 10000, {}, at::kCPU);
  const at::Tensor loss = blocks(leaf, freqs_cis).square().sum();
  loss.backward({}, /*keep_graph=*/twice);
  if (twice) loss.backward();
  std::vector<at::Tensor> gradients{leaf.grad(), loss.detach()};
  for (nn::Parameter* parameter : blocks.parameters()) gradients.push_back(parameter->get().grad());
  return gradients;
}

CountsOf checkpoint_all(test::Blocks& blocks, const CheckpointOptions& options) {
  CountsOf counts;
  for (int64_t i = 0; i < blocks.layers->size(); ++i) counts.push_back(checkpoint(*(*blocks.layers)[i], options));
  return counts;
}

void expect_bit_equal(const std::vector<at::Tensor>& actual, const std::vector<at::Tensor>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_TRUE(at::equal(actual[i], expected[i])) << i;
}

struct Case {
  std::string name;
  CheckpointOptions options;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> cases() {
  const auto dear = keep_dear_operators({});
  return {{"full", {}},
          {"full_early_stop", {.early_stop = true}},
          {"full_debug", {.debug = true}},
          {"operators", {.make_policy = dear}},
          {"operators_early_stop", {.early_stop = true, .make_policy = dear}},
          {"operators_but_some_shapes", {.make_policy = keep_dear_operators({{24, 40}})}}};
}

class Checkpoint : public testing::TestWithParam<Case> {};

TEST_P(Checkpoint, GivesTheSameBitsAsThePlainForward) {
  const at::Tensor x = test::random({2, kSeq, 24}, 100);
  test::Blocks plain(3), blocks(3);
  const auto expected = gradients_of(plain, x);
  const auto counts = checkpoint_all(blocks, GetParam().options);
  expect_bit_equal(gradients_of(blocks, x), expected);
  for (const auto& count : counts) {
    EXPECT_EQ(count->forwards, 1);
    EXPECT_EQ(count->recomputations, 1);
  }
  // A graph that is kept hands out what it has; gradients add up.
  expect_bit_equal(gradients_of(blocks, x, /*twice=*/true), gradients_of(plain, x, /*twice=*/true));
  for (const auto& count : counts) EXPECT_EQ(count->recomputations, 2);
}

TEST_P(Checkpoint, GivesTheSameBitsInMixedPrecision) {
  const at::Tensor x = test::random({2, kSeq, 24}, 100).to(at::kBFloat16);
  test::Blocks plain(2), blocks(2);
  for (test::Blocks* model : {&plain, &blocks}) {
    for (int64_t i = 0; i < 2; ++i) parallel::apply_mixed_precision(*(*model->layers)[i], at::kBFloat16);
  }
  checkpoint_all(blocks, GetParam().options);
  expect_bit_equal(gradients_of(blocks, x), gradients_of(plain, x));
}

TEST_P(Checkpoint, DrawsTheSameRandomNumbersAgain) {
  const at::Tensor x = test::random({2, kSeq, 24}, 100);
  test::Blocks plain(3), blocks(3);
  for (test::Blocks* model : {&plain, &blocks}) {
    for (int64_t i = 0; i < 3; ++i) (*model->layers)[i]->dropout = 0.3;
  }
  checkpoint_all(blocks, GetParam().options);
  at::Generator generator = at::globalContext().defaultGenerator(at::kCPU);
  generator.set_current_seed(5);
  const auto expected = gradients_of(plain, x);
  const at::Tensor next = at::rand({4});
  generator.set_current_seed(5);
  expect_bit_equal(gradients_of(blocks, x), expected);
  EXPECT_TRUE(at::equal(at::rand({4}), next)) << "the backward moved the generator on";
}

INSTANTIATE_TEST_SUITE_P(Modes, Checkpoint, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(CheckpointRandom, OtherNumbersAreDrawnIfStatesAreNotKept) {
  const at::Tensor x = test::random({2, kSeq, 24}, 100);
  test::Blocks plain(1), blocks(1);
  for (test::Blocks* model : {&plain, &blocks}) (*model->layers)[0]->dropout = 0.3;
  checkpoint_all(blocks, {.preserve_rng_state = false});
  at::Generator generator = at::globalContext().defaultGenerator(at::kCPU);
  generator.set_current_seed(5);
  const auto expected = gradients_of(plain, x);
  generator.set_current_seed(5);
  EXPECT_FALSE(at::equal(gradients_of(blocks, x)[0], expected[0]));
}

Counts operators_of(test::Blocks& blocks, const at::Tensor& x) {
  dtensor::CountingMode counter;
  const dtensor::ModeGuard guard(counter);
  gradients_of(blocks, x);
  return counter.counts();
}

// A block has 7 linear layers: 7 products forward, 14 backward. The products of one that is kept do not run again.
TEST(CheckpointOperators, RunAgainUnlessTheirResultsAreKept) {
  const at::Tensor x = test::random({2, kSeq, 24}, 100);
  const auto count = [&](const CheckpointOptions& options, const std::string& op) {
    test::Blocks blocks(1);
    checkpoint_all(blocks, options);
    return operators_of(blocks, x)[op];
  };
  test::Blocks plain(1);
  const int64_t products = operators_of(plain, x)["aten::mm"];
  const char* const attention = "titan::attention";
  EXPECT_EQ(products, 21);
  EXPECT_EQ(count({}, "aten::mm"), products + 7);
  EXPECT_EQ(count({}, attention), 2);
  // The last product's result is nobody's input in the block.
  EXPECT_EQ(count({.early_stop = true}, "aten::mm"), products + 6);
  EXPECT_EQ(count({.make_policy = keep_dear_operators({})}, "aten::mm"), products + 3);
  EXPECT_EQ(count({.make_policy = keep_dear_operators({})}, attention), 1);
  // wq, wk, wv, wo, w1, w3, w2 without w1 and w3: the first, third and fifth are kept.
  EXPECT_EQ(count({.make_policy = keep_dear_operators({{24, 40}})}, "aten::mm"), products + 4);
}

// Products that are passed over are no FLOPs: of q, k, v, o, w1, w3, w2, every second one, and of 10 tokens.
TEST(CheckpointOperators, CountAsFlopsIfTheyRun) {
  const at::Tensor x = test::random({2, kSeq, 24}, 100);
  const auto flops = [&](bool is_checkpointed, const CheckpointOptions& options) {
    test::Blocks blocks(1);
    if (is_checkpointed) checkpoint_all(blocks, options);
    const profiling::FlopCounter counter;
    gradients_of(blocks, x);
    return counter.count();
  };
  const auto plain = flops(false, {}), full = flops(true, {}),
             some = flops(true, {.make_policy = keep_dear_operators({})});
  EXPECT_EQ(full.matmul - plain.matmul, 2 * 10 * (24 * 24 + 2 * 24 * 8 + 24 * 24 + 3 * 24 * 40));
  EXPECT_EQ(some.matmul - plain.matmul, 2 * 10 * (24 * 8 + 24 * 24 + 24 * 40));  // k, o, w3
  EXPECT_GT(full.attention, plain.attention);
  EXPECT_EQ(some.attention, plain.attention);
}

// q, k, v, o: 24, 8, 8, 24 wide; w1, w3, w2: 40, 40, 24. Attention leaves its output and, in fp32, one number a head.
TEST(CheckpointMemory, IsThatOfInputsAndOfWhatIsKept) {
  const at::Tensor x = test::random({2, kSeq, 24}, 100);
  const int64_t tokens = 2 * kSeq, input = tokens * 24 * 4 + kSeq * 4 * 8;
  test::Blocks full(2), operators(2);
  const auto of_full = checkpoint_all(full, {}),
             of_operators = checkpoint_all(operators, {.make_policy = keep_dear_operators({})});
  gradients_of(full, x);
  gradients_of(operators, x);
  for (const auto& counts : of_full) {
    EXPECT_EQ(counts->input_bytes, input);
    EXPECT_EQ(counts->kept_bytes, 0);
  }
  for (const auto& counts : of_operators) {
    EXPECT_EQ(counts->input_bytes, input);
    // Every second product: q, v, w1 (in the order of their calls q, k, v, o, w1, w3, w2), and w2.
    EXPECT_EQ(counts->kept_bytes, tokens * 4 * (24 + 8 + 40 + 24 + /*attention*/ 24 + 3));
  }
}

TEST(CheckpointGradMode, NothingIsDroppedWithoutGradients) {
  test::Blocks blocks(1);
  const auto counts = checkpoint_all(blocks, {});
  const at::NoGradGuard no_grad;
  blocks(test::random({2, kSeq, 24}, 1), nn::precompute_freqs_cis(8, kSeq, 10000, {}, at::kCPU));
  EXPECT_EQ(counts[0]->forwards, 0);
}

// --- a second run that differs ---

struct Fickle : nn::Callable<Fickle> {
  nn::Parameter weight{this, "weight", {4}, at::kFloat};
  std::function<at::Tensor(const at::Tensor&, const at::Tensor&, int64_t call)> body;
  int64_t num_calls = 0;

  Fickle() {
    to_empty(at::kCPU);
    const at::NoGradGuard no_grad;
    weight.get().fill_(2);
  }
  at::Tensor forward(const at::Tensor& x) { return body(x, weight, num_calls++); }
};

std::string error_of(Fickle& module, const at::Tensor& x) {
  try {
    module(x).sum().backward();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

TEST(CheckpointMistakes, AreNamed) {
  const at::Tensor x = test::random({3, 4}, 1);
  const auto expect = [&](const CheckpointOptions& options, const auto& body, const std::string& part) {
    Fickle module;
    module.body = body;
    checkpoint(module, options);
    const std::string error = error_of(module, x);
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  const auto other_shape = [](const at::Tensor& y, const at::Tensor& w, int64_t call) {
    return (call == 0 ? y : y.narrow(0, 0, 2)) * w;
  };
  const auto fewer = [](const at::Tensor& y, const at::Tensor& w, int64_t call) {
    return call == 0 ? (y * w) * w : y * w;
  };
  const auto more = [](const at::Tensor& y, const at::Tensor& w, int64_t call) {
    return call == 0 ? y * w : (y * w) * w;
  };
  expect({}, other_shape, "was Float[3, 4] on cpu in the forward and is Float[2, 4] on cpu in its recomputation");
  expect({}, fewer, "left 3 tensors for the backward, its recomputation 1");
  expect({}, more, "left 1 tensors for the backward, its recomputation more");
  expect({.debug = true}, fewer, "of its recomputation:\n  aten::mul.Tensor Float[3, 4] Float[4]");
  expect({.debug = true}, more, "more\noperators of the forward:\n  aten::mul.Tensor Float[3, 4] Float[4]\nof its");
  // An input that is written after the forward.
  Fickle module;
  module.body = [](const at::Tensor& y, const at::Tensor& w, int64_t) { return y * w; };
  checkpoint(module, {});
  at::Tensor y = x.clone();
  const at::Tensor output = module(y);
  y.add_(1);
  EXPECT_THROW(output.sum().backward(), c10::Error);
}

TEST(CheckpointMistakes, MetadataIsComparedUnlessItIsNotWanted) {
  Fickle module;
  module.body = [](const at::Tensor& y, const at::Tensor& w, int64_t call) { return (y + (call == 0 ? 0 : 1)) * w; };
  checkpoint(module, {.check_determinism = false});
  EXPECT_EQ(error_of(module, test::random({3, 4}, 1)), "");
}

TEST(CheckpointMistakes, AResultThatIsWrittenAfterItWasKeptIsNamed) {
  Fickle module;
  module.body = [](const at::Tensor& y, const at::Tensor& w, int64_t) {
    const at::Tensor z = at::mm(y, at::ones({4, 4})).detach();
    z.add_(1);
    return z * w;
  };
  checkpoint(module, {.make_policy = keep_dear_operators({})});
  const std::string error = error_of(module, test::random({3, 4}, 1));
  EXPECT_NE(error.find("a result of aten::mm, kept for recomputation, was written in place"), std::string::npos)
      << error;
}

TEST(SelectiveOperators, TakeTheShapesOfNamedLinears) {
  test::Blocks blocks(2);
  EXPECT_EQ(shapes_of_linears(blocks, {"feed_forward.w1", "attention.wk"}),
            (std::set<ProductShape>{{24, 40}, {24, 8}}));
  EXPECT_EQ(shapes_of_linears(blocks, {"moe.router.gate"}), std::set<ProductShape>{});
  EXPECT_THROW(shapes_of_linears(blocks, {"attention_norm"}), c10::ValueError);
}

}  // namespace
}  // namespace titan::activation_checkpoint
