#include "titan/kernels/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <ostream>

#include "tests/support/tensors.h"

namespace titan::kernels {
namespace {

using test::random;
using test::relative_difference;

struct Sizes {
  int64_t batch, query_len, key_len, heads, kv_heads, width, value_width;
};

std::ostream& operator<<(std::ostream& stream, const Sizes& s) {
  return stream << "batch " << s.batch << ", " << s.query_len << " queries, " << s.key_len << " keys, " << s.heads
                << " heads on " << s.kv_heads << ", widths " << s.width << " and " << s.value_width;
}

// What autograd makes of the formula in fp64, with all scores in memory.
at::Tensor reference(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                     const AttentionMask& mask) {
  const int64_t group = query.size(2) / key.size(2);
  const at::Tensor positions = (at::arange(query.size(1)) + mask.query_offset).unsqueeze(1);
  const at::Tensor keys = at::arange(key.size(1));
  at::Tensor seen = at::ones({query.size(0), 1, query.size(1), key.size(1)}, at::kBool);
  if (mask.is_causal) seen = seen & (keys <= positions);
  if (mask.window > 0) seen = seen & (positions - keys < mask.window);
  if (mask.first_key.defined()) seen = seen & (keys >= mask.first_key.unsqueeze(2)).unsqueeze(1);
  const at::Tensor q = query.transpose(1, 2), k = key.repeat_interleave(group, 2).permute({0, 2, 3, 1});
  const at::Tensor v = value.repeat_interleave(group, 2).transpose(1, 2);
  const at::Tensor scores = at::where(seen, at::matmul(q, k) / std::sqrt(static_cast<double>(query.size(3))),
                                      -std::numeric_limits<double>::infinity());
  // Softmax of nothing is NaN.
  const at::Tensor weights = at::where(seen.any(-1, true), at::softmax(scores, -1), 0.0);
  return at::matmul(weights, v).transpose(1, 2);
}

struct Results {
  at::Tensor out, grad_query, grad_key, grad_value;
};

template <class F>
Results run(F&& function, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
            const at::Tensor& grad_out) {
  const auto leaf = [](const at::Tensor& x) { return x.detach().requires_grad_(); };
  const at::Tensor q = leaf(query), k = leaf(key), v = leaf(value);
  const at::Tensor out = function(q, k, v);
  out.backward(grad_out);
  return {out.detach(), q.grad(), k.grad(), v.grad()};
}

void expect_like_reference(const Sizes& s, const AttentionMask& mask, at::ScalarType dtype) {
  SCOPED_TRACE(testing::Message() << s << " " << c10::toString(dtype));
  const at::Tensor query = random({s.batch, s.query_len, s.heads, s.width}, 1).to(dtype);
  const at::Tensor key = random({s.batch, s.key_len, s.kv_heads, s.width}, 2).to(dtype);
  const at::Tensor value = random({s.batch, s.key_len, s.kv_heads, s.value_width}, 3).to(dtype);
  const at::Tensor grad_out = random({s.batch, s.query_len, s.heads, s.value_width}, 4).to(dtype);
  const Results ours = run([&](const auto& q, const auto& k, const auto& v) { return attention(q, k, v, mask); }, query,
                           key, value, grad_out);
  const auto wide = [](const at::Tensor& x) { return x.to(at::kDouble); };
  const Results exact = run([&](const auto& q, const auto& k, const auto& v) { return reference(q, k, v, mask); },
                            wide(query), wide(key), wide(value), wide(grad_out));
  // fp32: sums of a few hundred terms. 16 bits: weights, out and results are rounded, each by up to 2^-9 (2^-12).
  const double tolerance = dtype == at::kFloat ? 3e-6 : dtype == at::kHalf ? 1e-3 : 8e-3;
  const auto expect_close = [&](const char* what, const at::Tensor& a, const at::Tensor& b) {
    EXPECT_EQ(a.scalar_type(), dtype) << what;
    ASSERT_EQ(a.sizes(), b.sizes()) << what;
    const double norm = b.norm().item<double>();
    if (norm < 1e-12) {
      // A softmax over one key has no gradient: nothing but rounding is left.
      EXPECT_LT(wide(a).norm().item<double>(), tolerance * 10) << what;
    } else {
      EXPECT_LT(relative_difference(a, b), tolerance) << what;
    }
  };
  expect_close("out", ours.out, exact.out);
  expect_close("grad_query", ours.grad_query, exact.grad_query);
  expect_close("grad_key", ours.grad_key, exact.grad_key);
  expect_close("grad_value", ours.grad_value, exact.grad_value);
}

constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

// One of each, tile borders (32, 64), spans of four tiles, widths with and without a rest.
TEST(Attention, IsTheFormulaAtAnySize) {
  for (const at::ScalarType dtype : kDtypes) {
    for (const Sizes& sizes :
         {Sizes{2, 77, 77, 6, 2, 24, 24}, Sizes{1, 1, 1, 1, 1, 1, 1}, Sizes{1, 64, 64, 2, 2, 16, 16},
          Sizes{1, 65, 65, 1, 1, 16, 16}, Sizes{1, 33, 300, 3, 3, 64, 64}, Sizes{2, 130, 5, 4, 1, 20, 36},
          Sizes{1, 260, 513, 2, 1, 32, 16}, Sizes{1, 3, 70, 7, 1, 128, 128}}) {
      expect_like_reference(sizes, {.is_causal = true}, dtype);
      expect_like_reference(sizes, {}, dtype);
    }
  }
}

TEST(Attention, QueriesMayStandAnywhereAmongTheKeys) {
  for (const at::ScalarType dtype : kDtypes) {
    // After all keys, in the middle, partly before them, wholly before them.
    for (const int64_t offset : {400, 83, -30, -70}) {
      expect_like_reference({2, 70, 150, 4, 2, 16, 16}, {.is_causal = true, .query_offset = offset}, dtype);
    }
  }
}

TEST(Attention, WindowsAndDocumentsLimitWhatIsSeen) {
  // Documents of 1, 69, 130 and 20 tokens, and another row with one of 220.
  at::Tensor first_key = at::zeros({2, 220}, at::kLong);
  first_key[0].slice(0, 1, 70).fill_(1);
  first_key[0].slice(0, 70, 200).fill_(70);
  first_key[0].slice(0, 200).fill_(200);
  for (const at::ScalarType dtype : kDtypes) {
    const Sizes sizes{2, 220, 220, 4, 2, 16, 16};
    expect_like_reference(sizes, {.is_causal = true, .first_key = first_key}, dtype);
    expect_like_reference(sizes, {.first_key = first_key}, dtype);
    for (const int64_t window : {1, 50, 64, 129})
      expect_like_reference(sizes, {.is_causal = true, .window = window}, dtype);
    expect_like_reference(sizes, {.is_causal = true, .query_offset = 9, .window = 100, .first_key = first_key}, dtype);
  }
}

TEST(Attention, AQueryThatSeesNothingGetsZero) {
  const at::Tensor x = random({1, 5, 1, 8}, 1);
  const auto [out, logsumexp] = attention_forward(x, x, x, {.is_causal = true, .query_offset = -2});
  EXPECT_TRUE(at::equal(out.narrow(1, 0, 2), at::zeros({1, 2, 1, 8})));
  EXPECT_EQ(logsumexp[0][0][1].item<float>(), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(at::equal(out[0][2], x[0][0]));
  const auto [grad_query, grad_key, grad_value] =
      attention_backward(x, x, x, x, out, logsumexp, {.is_causal = true, .query_offset = -2});
  EXPECT_TRUE(at::equal(grad_query.narrow(1, 0, 2), at::zeros({1, 2, 1, 8})));
  EXPECT_TRUE(at::equal(grad_value.narrow(1, 3, 2), at::zeros({1, 2, 1, 8})));
}

// Bit-equal: strides decide where an element is, not what becomes of it.
TEST(Attention, TakesAnyStrides) {
  const at::Tensor query = random({2, 50, 4, 16}, 1), key = random({2, 70, 2, 16}, 2),
                   value = random({2, 70, 2, 24}, 3);
  const at::Tensor grad_out = random({2, 50, 4, 24}, 4);
  const auto plain = [](const auto& q, const auto& k, const auto& v) {
    return attention(q, k, v, {.is_causal = true});
  };
  const Results expected = run(plain, query, key, value, grad_out);
  const auto by_heads = [](const at::Tensor& x) { return x.transpose(1, 2).contiguous().transpose(1, 2); };
  const auto by_columns = [](const at::Tensor& x) { return x.transpose(1, 3).contiguous().transpose(1, 3); };
  const at::Tensor fused = at::cat({key, value}, -1);  // rows with a gap
  for (const Results& actual : {run(plain, by_heads(query), by_heads(key), by_heads(value), by_heads(grad_out)),
                                run(plain, by_columns(query), by_columns(key), by_columns(value), by_columns(grad_out)),
                                run(plain, query, fused.narrow(-1, 0, 16), fused.narrow(-1, 16, 24), grad_out)}) {
    EXPECT_TRUE(at::equal(actual.out, expected.out));
    EXPECT_TRUE(at::equal(actual.grad_query, expected.grad_query));
    EXPECT_TRUE(at::equal(actual.grad_key, expected.grad_key));
    EXPECT_TRUE(at::equal(actual.grad_value, expected.grad_value));
  }
}

TEST(Attention, IsTheSameAtAnyNumberOfThreads) {
  const int num_threads = at::get_num_threads();
  const at::Tensor query = random({1, 700, 4, 16}, 1), key = random({1, 700, 2, 16}, 2),
                   value = random({1, 700, 2, 16}, 3);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto with_threads = [&](int count) {
      at::set_num_threads(count);
      return run([](const auto& q, const auto& k, const auto& v) { return attention(q, k, v, {.is_causal = true}); },
                 query.to(dtype), key.to(dtype), value.to(dtype), random({1, 700, 4, 16}, 4).to(dtype));
    };
    const Results one = with_threads(1), three = with_threads(3);
    at::set_num_threads(num_threads);
    EXPECT_TRUE(at::equal(one.out, three.out));
    EXPECT_TRUE(at::equal(one.grad_query, three.grad_query));
    EXPECT_TRUE(at::equal(one.grad_key, three.grad_key));
    EXPECT_TRUE(at::equal(one.grad_value, three.grad_value));
  }
}

// What ring attention does: two blocks of keys, of which the second starts at 40.
TEST(Attention, BlocksOfKeysCombineByTheirLogSumExp) {
  const at::Tensor query = random({2, 90, 4, 16}, 1), key = random({2, 90, 2, 16}, 2),
                   value = random({2, 90, 2, 16}, 3);
  const at::Tensor grad_out = random({2, 90, 4, 16}, 4);
  const AttentionMask causal{.is_causal = true};
  const auto [out, logsumexp] = attention_forward(query, key, value, causal);
  const auto [grad_query, grad_key, grad_value] =
      attention_backward(grad_out, query, key, value, out, logsumexp, causal);

  at::Tensor sum = at::zeros_like(out), sum_grad_query = at::zeros_like(query);
  at::Tensor total = at::full_like(logsumexp, -std::numeric_limits<float>::infinity());
  std::vector<at::Tensor> grad_keys, grad_values;
  for (const auto& [begin, size] : {std::pair<int64_t, int64_t>{0, 40}, {40, 50}}) {
    const at::Tensor k = key.narrow(1, begin, size), v = value.narrow(1, begin, size);
    const AttentionMask mask{.is_causal = true, .query_offset = -begin};
    const auto [part, part_logsumexp] = attention_forward(query, k, v, mask);
    const auto weight = [](const at::Tensor& x) { return at::exp(x).transpose(1, 2).unsqueeze(-1); };
    const at::Tensor both = at::logaddexp(total, part_logsumexp);
    sum = sum * weight(total - both) + part * weight(part_logsumexp - both);
    total = both;
    const auto [dq, dk, dv] = attention_backward(grad_out, query, k, v, out, logsumexp, mask);
    sum_grad_query += dq;
    grad_keys.push_back(dk);
    grad_values.push_back(dv);
  }
  EXPECT_LT(relative_difference(sum, out), 1e-6);
  EXPECT_LT(relative_difference(total, logsumexp), 1e-6);
  EXPECT_LT(relative_difference(sum_grad_query, grad_query), 1e-6);
  EXPECT_LT(relative_difference(at::cat(grad_keys, 1), grad_key), 1e-6);
  EXPECT_LT(relative_difference(at::cat(grad_values, 1), grad_value), 1e-6);
}

// Scores of +-1e4: the softmax is taken relative to the largest. One NaN spoils its own row only.
TEST(Attention, LargeScoresDoNotOverflowAndNaNStaysNaN) {
  const at::Tensor query = random({1, 40, 1, 16}, 1) * 100, key = random({1, 40, 1, 16}, 2) * 100,
                   value = random({1, 40, 1, 16}, 3);
  const at::Tensor out = attention(query, key, value);
  EXPECT_LT(relative_difference(out, reference(query.to(at::kDouble), key.to(at::kDouble), value.to(at::kDouble), {})),
            1e-3);
  query[0][7][0][3] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor spoilt = attention(query, key, value);
  EXPECT_TRUE(spoilt[0][7].isnan().all().item<bool>());
  EXPECT_TRUE(at::equal(spoilt[0][8], out[0][8]));
}

// float64 has no loops: the composite, which the meta device runs as well.
TEST(Attention, TheCompositeIsTheFormulaToo) {
  expect_like_reference({2, 33, 40, 4, 2, 8, 12}, {.is_causal = true, .query_offset = -3, .window = 9}, at::kDouble);
  const at::Tensor query = at::empty({2, 5, 4, 8}, at::TensorOptions(at::kMeta).dtype(at::kBFloat16));
  const at::Tensor key = at::empty({2, 6, 2, 8}, query.options()), value = at::empty({2, 6, 2, 3}, query.options());
  const auto [out, logsumexp] = attention_forward(query, key, value);
  EXPECT_EQ(out.sizes(), at::IntArrayRef({2, 5, 4, 3}));
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_EQ(logsumexp.sizes(), at::IntArrayRef({2, 4, 5}));
  EXPECT_EQ(logsumexp.scalar_type(), at::kFloat);
}

TEST(Attention, NothingOfNothing) {
  const Results no_heads =
      run([](const auto& q, const auto& k, const auto& v) { return attention(q, k, v); }, at::zeros({2, 5, 0, 8}),
          at::zeros({2, 5, 0, 8}), at::zeros({2, 5, 0, 8}), at::zeros({2, 5, 0, 8}));
  EXPECT_EQ(no_heads.grad_query.sizes(), at::IntArrayRef({2, 5, 0, 8}));
  const auto [out, logsumexp] =
      attention_forward(random({1, 2, 1, 4}, 1), at::zeros({1, 0, 1, 4}), at::zeros({1, 0, 1, 4}));
  EXPECT_TRUE(at::equal(out, at::zeros({1, 2, 1, 4})));
  EXPECT_EQ(logsumexp[0][0][0].item<float>(), -std::numeric_limits<float>::infinity());
}

TEST(Attention, RefusesWhatDoesNotFit) {
  const at::Tensor x = at::zeros({1, 4, 6, 8}), fewer = at::zeros({1, 4, 4, 8});
  EXPECT_THROW(attention(x, fewer, fewer), c10::ValueError);  // 4 does not divide 6
  EXPECT_THROW(attention(x, x, at::zeros({1, 5, 6, 8})), c10::ValueError);
  EXPECT_THROW(attention(x, x.to(at::kBFloat16), x), c10::ValueError);
  EXPECT_THROW(attention(x, x, x, {}, 0.0), c10::ValueError);
  EXPECT_THROW(attention(x, x, x, {.window = 3}), c10::ValueError);
  EXPECT_THROW(attention(x, x, x, {.first_key = at::zeros({1, 5}, at::kLong)}), c10::ValueError);
  EXPECT_THROW(attention(x, x, x, {.first_key = at::zeros({1, 4})}), c10::ValueError);
}

}  // namespace
}  // namespace titan::kernels
