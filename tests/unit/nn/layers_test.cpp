// Each layer against its formula written out in plain operations.
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/view_as_real.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/tensors.h"
#include "titan/nn/attention.h"
#include "titan/nn/embedding.h"
#include "titan/nn/feed_forward.h"
#include "titan/nn/init.h"
#include "titan/nn/rms_norm.h"
#include "titan/nn/rotary.h"

namespace titan::nn {
namespace {

using test::random;
using test::relative_difference;

void init(Module& module) {
  module.to_empty(at::kCPU);
  for (Parameter* parameter : module.parameters()) Initializer(3).normal(*parameter, 0.0, 0.3);
}

TEST(RMSNorm, DividesByTheRootOfTheMeanSquare) {
  RMSNorm norm(7, 1e-5, at::kFloat);
  init(norm);
  const at::Tensor x = random({2, 5, 7}, 1);
  const at::Tensor expected = x * at::rsqrt(x.pow(2).mean(-1, true) + 1e-5) * norm.weight.get();
  EXPECT_LT(relative_difference(norm(x), expected), 1e-6);
}

TEST(RMSNorm, OfASumIsTheSameWithHooksAndWithout) {
  RMSNorm norm(7, 1e-5, at::kFloat);
  init(norm);
  const at::Tensor x = random({2, 5, 7}, 1), delta = random({2, 5, 7}, 2);
  const auto [sum, normed] = norm.of_sum(x, delta);
  EXPECT_TRUE(at::equal(sum, x + delta));
  EXPECT_TRUE(at::equal(normed, norm(sum)));

  int calls = 0;
  norm.register_forward_hook([&](Module&, Inputs, at::Tensor&) { ++calls; });
  const auto [hooked_sum, hooked] = norm.of_sum(x, delta);
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(at::equal(hooked_sum, sum));
  EXPECT_TRUE(at::equal(hooked, normed));
}

TEST(FeedForward, IsSwiGlu) {
  FeedForward ffn(6, 10, at::kFloat);
  init(ffn);
  const at::Tensor x = random({3, 6}, 2);
  const at::Tensor gate = at::matmul(x, ffn.w1->weight.get().t());
  const at::Tensor up = at::matmul(x, ffn.w3->weight.get().t());
  const at::Tensor expected = at::matmul(gate * at::sigmoid(gate) * up, ffn.w2->weight.get().t());
  EXPECT_LT(relative_difference(ffn(x), expected), 1e-6);
}

TEST(Embedding, PicksRows) {
  Embedding embedding(5, 3, at::kFloat);
  init(embedding);
  const at::Tensor row = embedding(at::full({1}, 4, at::kLong));
  EXPECT_TRUE(at::equal(row[0], embedding.weight.get()[4]));
}

TEST(Rotary, TurnsNeighboursByPositionTimesFrequency) {
  constexpr RopeScaling kUnscaled = {.scaling_factor = 1.0};
  const at::Tensor freqs_cis = precompute_freqs_cis(4, 6, 10000.0, kUnscaled, at::kCPU);
  const at::Tensor q = random({1, 5, 2, 4}, 3), k = random({1, 5, 1, 4}, 4);
  const auto [q_turned, k_turned] = apply_rotary_emb(q, k, freqs_cis);
  ASSERT_EQ(k_turned.sizes(), k.sizes());
  for (int64_t position = 0; position < 5; ++position) {
    for (int64_t pair = 0; pair < 2; ++pair) {
      const double angle = position * std::pow(10000.0, -2.0 * pair / 4);
      const double a = q[0][position][1][2 * pair].item<double>(), b = q[0][position][1][2 * pair + 1].item<double>();
      EXPECT_NEAR(q_turned[0][position][1][2 * pair].item<double>(), a * std::cos(angle) - b * std::sin(angle), 1e-5);
      EXPECT_NEAR(q_turned[0][position][1][2 * pair + 1].item<double>(), a * std::sin(angle) + b * std::cos(angle),
                  1e-5);
    }
  }
}

// Element i with i + 3, turned as element 2i with 2i + 1 is where they are neighbours.
TEST(Rotary, HalvesAreTurnedAsNeighboursAre) {
  const at::Tensor freqs_cis = precompute_freqs_cis(6, 5, 10000.0, {}, at::kCPU);
  const at::Tensor q = random({2, 5, 3, 6}, 3), k = random({2, 5, 1, 6}, 4);
  const auto side_by_side = [](const at::Tensor& x) {
    return x.unflatten(3, at::IntArrayRef{2, 3}).transpose(3, 4).flatten(3);
  };
  const auto [q_halves, k_halves] = apply_rotary_emb(q, k, freqs_cis, RotaryPairs::kHalves);
  const auto [q_pairs, k_pairs] = apply_rotary_emb(side_by_side(q), side_by_side(k), freqs_cis);
  EXPECT_TRUE(at::equal(side_by_side(q_halves), q_pairs));
  EXPECT_TRUE(at::equal(side_by_side(k_halves), k_pairs));
  EXPECT_FALSE(at::equal(q_halves, q_pairs));
}

// Llama 3.1: wavelengths under 2048 stay, over 8192 are stretched 8 times, those between lie between.
TEST(Rotary, StretchesOnlySlowFrequencies) {
  const auto angles = [](const RopeScaling& scaling) {
    return at::view_as_real(precompute_freqs_cis(128, 2, 500000.0, scaling, at::kCPU)[1]);
  };
  const at::Tensor plain = angles({.scaling_factor = 1.0}), scaled = angles({});
  int64_t same = 0, stretched = 0, between = 0;
  for (int64_t i = 0; i < 64; ++i) {
    const double frequency = std::pow(500000.0, -2.0 * i / 128), wavelength = 2 * M_PI / frequency;
    const double ratio = std::atan2(scaled[i][1].item<double>(), scaled[i][0].item<double>()) / frequency;
    if (wavelength < 2048) {
      EXPECT_NEAR(ratio, 1.0, 1e-3);
      ++same;
    } else if (wavelength > 8192) {
      EXPECT_NEAR(ratio, 0.125, 1e-3);
      ++stretched;
    } else {
      EXPECT_GT(ratio, 0.125);
      EXPECT_LT(ratio, 1.0);
      ++between;
    }
  }
  EXPECT_GT(same, 0);
  EXPECT_GT(stretched, 0);
  EXPECT_GT(between, 0);
}

// Dense attention with the mask written out; 3 query heads share each key head; an odd sequence length.
TEST(Attention, IsCausalGroupedQueryAttention) {
  constexpr int64_t kBatch = 2, kSeq = 7, kHeads = 6, kKvHeads = 2, kHeadDim = 4, kDim = kHeads * kHeadDim;
  Attention attention({.dim = kDim, .n_heads = kHeads, .n_kv_heads = kKvHeads, .head_dim = kHeadDim}, at::kFloat);
  init(attention);
  const at::Tensor freqs_cis = precompute_freqs_cis(kHeadDim, kSeq, 10000.0, {}, at::kCPU);
  const at::Tensor x = random({kBatch, kSeq, kDim}, 5);

  at::Tensor q = at::matmul(x, attention.wq->weight.get().t()).view({kBatch, kSeq, kHeads, kHeadDim});
  at::Tensor k = at::matmul(x, attention.wk->weight.get().t()).view({kBatch, kSeq, kKvHeads, kHeadDim});
  at::Tensor v = at::matmul(x, attention.wv->weight.get().t()).view({kBatch, kSeq, kKvHeads, kHeadDim});
  std::tie(q, k) = apply_rotary_emb(q, k, freqs_cis);
  const auto by_head = [](const at::Tensor& t, int64_t repeat) {
    return t.repeat_interleave(repeat, 2).transpose(1, 2);
  };
  at::Tensor scores = at::matmul(by_head(q, 1), by_head(k, kHeads / kKvHeads).transpose(-1, -2)) / std::sqrt(kHeadDim);
  scores = scores.masked_fill(at::ones({kSeq, kSeq}, at::kBool).triu(1), -INFINITY);
  const at::Tensor mixed = at::matmul(at::softmax(scores, -1), by_head(v, kHeads / kKvHeads));
  const at::Tensor expected =
      at::matmul(mixed.transpose(1, 2).reshape({kBatch, kSeq, kDim}), attention.wo->weight.get().t());
  EXPECT_LT(relative_difference(attention(x, freqs_cis), expected), 2e-6);
}

// A model whose heads together are wider than it is, as Qwen 3's. Scores are of unit queries and keys, whatever wq and
// wk are: scaling wq by 100 changes nothing.
TEST(Attention, NormalisesQueriesAndKeysPerHeadWhenAsked) {
  constexpr int64_t kSeq = 5, kHeads = 4, kKvHeads = 2, kHeadDim = 6, kDim = 7;
  constexpr double kEps = 1e-6;
  Attention attention({.dim = kDim, .n_heads = kHeads, .n_kv_heads = kKvHeads, .head_dim = kHeadDim}, at::kFloat,
                      {.rotary_pairs = RotaryPairs::kHalves, .qk_norm_eps = kEps});
  init(attention);
  const at::Tensor freqs_cis = precompute_freqs_cis(kHeadDim, kSeq, 10000.0, {}, at::kCPU);
  const at::Tensor x = random({2, kSeq, kDim}, 5);

  const auto heads = [&](Linear& linear) {
    return at::matmul(x, linear.weight.get().t()).unflatten(-1, at::IntArrayRef{-1, kHeadDim});
  };
  const auto normed = [](const at::Tensor& h, const Parameter& weight) {
    return h * at::rsqrt(h.square().mean(-1, true) + kEps) * weight.get();
  };
  const auto [q, k] =
      apply_rotary_emb(normed(heads(*attention.wq), attention.q_norm->weight),
                       normed(heads(*attention.wk), attention.k_norm->weight), freqs_cis, RotaryPairs::kHalves);
  const at::Tensor mixed = at::scaled_dot_product_attention(
      q.transpose(1, 2), k.repeat_interleave(2, 2).transpose(1, 2),
      heads(*attention.wv).repeat_interleave(2, 2).transpose(1, 2), {}, 0.0, /*is_causal=*/true);
  const at::Tensor expected = at::matmul(mixed.transpose(1, 2).flatten(2), attention.wo->weight.get().t());
  const at::Tensor made = attention(x, freqs_cis);
  EXPECT_LT(relative_difference(made, expected), 2e-6);

  at::NoGradGuard no_grad;
  attention.wq->weight.get().mul_(100);
  EXPECT_LT(relative_difference(attention(x, freqs_cis), made), 1e-5);
}

TEST(Attention, LaterTokensDoNotReachEarlierOnes) {
  Attention attention({.dim = 8, .n_heads = 2, .n_kv_heads = 1, .head_dim = 4}, at::kFloat);
  init(attention);
  const at::Tensor freqs_cis = precompute_freqs_cis(4, 6, 10000.0, {}, at::kCPU);
  const at::Tensor x = random({1, 6, 8}, 6);
  const at::Tensor before = attention(x, freqs_cis).clone();
  at::Tensor changed = x.clone();
  changed[0][5] += 1;
  const at::Tensor after = attention(changed, freqs_cis);
  EXPECT_TRUE(at::equal(before.narrow(1, 0, 5), after.narrow(1, 0, 5)));
  EXPECT_FALSE(at::equal(before[0][5], after[0][5]));
}

}  // namespace
}  // namespace titan::nn
