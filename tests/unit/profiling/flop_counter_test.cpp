#include "titan/profiling/flop_counter.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <thread>

#include "titan/kernels/attention.h"
#include "titan/loss/cross_entropy.h"
#include "titan/models/llama3/model.h"

namespace titan::profiling {
namespace {

FlopCount count(const std::function<void()>& work) {
  const FlopCounter counter;
  work();
  return counter.count();
}

TEST(FlopCounter, CountsALinearForwardAndBackward) {
  const at::Tensor x = at::randn({5, 7}).requires_grad_(), w = at::randn({3, 7}).requires_grad_();
  at::Tensor y;
  EXPECT_EQ(count([&] { y = at::linear(x, w); }).matmul, 2 * 5 * 7 * 3);
  EXPECT_EQ(count([&] { y.sum().backward(); }).matmul, 2 * (2 * 5 * 7 * 3));  // dx and dw
}

TEST(FlopCounter, WithoutAGradientOfTheInputThereIsOneProductLess) {
  const at::Tensor x = at::randn({5, 7}), w = at::randn({3, 7}).requires_grad_();
  EXPECT_EQ(count([&] { at::linear(x, w).sum().backward(); }).matmul, 2 * (2 * 5 * 7 * 3));
}

TEST(FlopCounter, CountsBatchedAndAccumulatingProducts) {
  const at::Tensor a = at::randn({4, 2, 3}), b = at::randn({4, 3, 5});
  EXPECT_EQ(count([&] { at::bmm(a, b); }).matmul, 2 * 4 * 2 * 3 * 5);
  EXPECT_EQ(count([&] { at::baddbmm(at::zeros({4, 2, 5}), a, b); }).matmul, 2 * 4 * 2 * 3 * 5);
  EXPECT_EQ(count([&] { at::addmm(at::zeros({5}), a[0], b[0]); }).matmul, 2 * 2 * 3 * 5);
  at::Tensor out = at::empty({2, 5});
  EXPECT_EQ(count([&] { at::mm_out(out, a[0], b[0]); }).matmul, 2 * 2 * 3 * 5);
  EXPECT_EQ(count([&] { at::mm(a[0].slice(0, 0, 0), b[0]); }).matmul, 0);
}

// What emulates the product in software calls others, which are part of it.
TEST(FlopCounter, CountsAFloat8ProductOnce) {
  const at::Tensor a = at::randn({16, 32}).to(at::kFloat8_e4m3fn), b = at::randn({48, 32}).to(at::kFloat8_e4m3fn);
  const at::Tensor one = at::ones({});
  at::globalContext().setUserEnabledMkldnn(false);  // which would do it in one
  const FlopCount flops = count([&] { at::_scaled_mm(a, b.t(), one, one, std::nullopt, std::nullopt, at::kBFloat16); });
  at::globalContext().setUserEnabledMkldnn(true);
  EXPECT_EQ(flops.total(), 2 * 16 * 32 * 48);
}

// 6 query heads share 2 of keys and values; 5 queries see 1 + 2 + 3 + 4 + 5 keys. Two products of width 8 forward, five
// backward.
TEST(FlopCounter, CausalAttentionCountsTheHalfThatIsComputed) {
  const auto leaf = [](int64_t heads) { return at::randn({2, heads, 5, 8}).requires_grad_(); };
  const at::Tensor q = leaf(6), k = leaf(2), v = leaf(2);
  const auto attention = [&](bool causal) {
    return at::scaled_dot_product_attention(q, k, v, {}, 0.0, causal, std::nullopt, /*enable_gqa=*/true);
  };
  at::Tensor y;
  const FlopCount forward = count([&] { y = attention(/*causal=*/true); });
  EXPECT_EQ(forward.attention, 2 * (2 * 6 * 15) * (8 + 8));
  EXPECT_EQ(forward.matmul, 0);
  const FlopCount backward = count([&] { y.sum().backward(); });
  EXPECT_EQ(backward.attention, 2 * (2 * 6 * 15) * 5 * 8);
  EXPECT_EQ(backward.matmul, 0);
  EXPECT_EQ(count([&] { attention(/*causal=*/false); }).attention, 2 * (2 * 6 * 25) * (8 + 8));
}

TEST(FlopCounter, OwnAttentionCountsWhatItsMaskLeaves) {
  const auto leaf = [](int64_t heads) { return at::randn({2, 5, heads, 8}).requires_grad_(); };
  const at::Tensor q = leaf(6), k = leaf(2), v = leaf(2);
  at::Tensor y;
  const FlopCount forward = count([&] { y = kernels::attention(q, k, v, {.is_causal = true, .window = 2}); });
  EXPECT_EQ(forward.attention, 2 * (2 * 6 * (1 + 2 + 2 + 2 + 2)) * (8 + 8));
  EXPECT_EQ(count([&] { y.sum().backward(); }).attention, 2 * (2 * 6 * (1 + 2 + 2 + 2 + 2)) * 5 * 8);
}

TEST(FlopCounter, CountsEveryThreadButOnlyWhileItLives) {
  const at::Tensor a = at::randn({4, 4});
  const FlopCount flops = count([&] {
    at::mm(a, a);
    std::thread([&] { at::mm(a, a); }).join();
  });
  EXPECT_EQ(flops.matmul, 2 * (2 * 4 * 4 * 4));
  at::mm(a, a);
  EXPECT_EQ(count([] {}).matmul, 0);
}

TEST(FlopCounter, MetaTensorsComputeNothing) {
  const at::Tensor a = at::empty({4, 4}, at::kMeta);
  EXPECT_EQ(count([&] { at::mm(a, a); }).matmul, 0);
}

TEST(FlopCounter, RecomputationCounts) {
  const at::Tensor x = at::randn({5, 7});
  EXPECT_EQ(count([&] {
              for (int i = 0; i < 3; ++i) at::mm(x, x.t());
            }).matmul,
            3 * (2 * 5 * 7 * 5));
}

// A whole step of a model against what its sizes say: 6 per token and weight of a linear (2 forward, 2 each for both
// gradients), and 14 per head dimension and attended pair (2 products forward, 5 backward).
TEST(FlopCounter, ALlamaStepIsWhatItsSizesSay) {
  const int64_t batch = 2, seq = 12, dim = 24, layers = 3, heads = 3, kv_heads = 1, head_dim = 8, vocab = 40;
  models::llama3::Config config{
      .dim = dim, .n_layers = layers, .n_heads = heads, .n_kv_heads = kv_heads, .vocab_size = vocab, .multiple_of = 8};
  models::llama3::Transformer model(config, seq, at::kFloat);
  model.to_empty(at::kCPU);
  model.init_weights(nn::Initializer(1));
  const at::Tensor tokens = at::randint(vocab, {batch, seq}, at::kLong);
  const FlopCount flops = count([&] {
    loss::chunked_cross_entropy(model(tokens), tokens, *model.output_layer(), 1.0, /*num_chunks=*/3).backward();
  });

  const int64_t ffn = config.ffn_hidden_dim();
  const int64_t weights_of_layer = 2 * dim * heads * head_dim + 2 * dim * kv_heads * head_dim + 3 * dim * ffn;
  EXPECT_EQ(flops.matmul, 6 * batch * seq * (layers * weights_of_layer + dim * vocab));
  EXPECT_EQ(flops.attention, 14 * batch * layers * heads * head_dim * (seq * (seq + 1) / 2));
}

}  // namespace
}  // namespace titan::profiling
