// bench_kernels: kernels of ours that wait for memory, beside what ATen composes for the same, in fp32 and bf16. Each
// line says how much memory the operation must move at least (inputs read, results written), how fast that went, and
// its share of what a copy reaches on this machine. What was measured is in kernels.md.
#include <ATen/TensorOperators.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/view_as_real.h>
#include <benchmark/benchmark.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "titan/kernels/cross_entropy.h"
#include "titan/kernels/rms_norm.h"
#include "titan/kernels/rotary.h"
#include "titan/kernels/sum_of_squares.h"
#include "titan/kernels/swiglu.h"

namespace titan::kernels {
namespace {

constexpr int64_t kTokens = 4096, kDim = 1024, kHeads = 16, kVocabulary = 2048;

// Bytes a second that a copy moves, read and written, the best of several.
double copy_speed() {
  static const double speed = [] {
    const at::Tensor from = at::ones({1 << 24}), to = at::empty_like(from);
    double best = 0;
    for (int i = 0; i < 20; ++i) {
      const std::clock_t start = std::clock();  // processor time, as Google Benchmark's rates
      to.copy_(from);
      const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
      best = std::max(best, 2.0 * static_cast<double>(from.nbytes()) / seconds);
    }
    return best;
  }();
  return speed;
}

using Operation = std::function<void()>;

void measure(benchmark::State& state, double bytes, const Operation& operation) {
  operation();  // the first call allocates
  for (auto _ : state) operation();
  const double moved = bytes * static_cast<double>(state.iterations());
  state.counters["bytes"] = benchmark::Counter(moved, benchmark::Counter::kIsRate);
  state.counters["of_copy"] = benchmark::Counter(moved / copy_speed(), benchmark::Counter::kIsRate);
}

at::Tensor random(at::IntArrayRef sizes, at::ScalarType dtype) { return at::randn(sizes).to(dtype); }

template <class Function>
Operation forward_of(const std::vector<at::Tensor>& inputs, Function function) {
  return [=] { benchmark::DoNotOptimize(function(inputs)); };
}

// The backward alone: the graph is kept.
template <class Function>
Operation backward_of(std::vector<at::Tensor> inputs, Function function) {
  std::vector<at::Tensor> leaves;
  for (at::Tensor& input : inputs) {
    input = input.detach();
    if (input.is_floating_point()) leaves.push_back(input.set_requires_grad(true));
  }
  const at::Tensor y = function(inputs), grad = at::empty_like(y).fill_(0.5);
  return [=] { benchmark::DoNotOptimize(torch::autograd::grad({y}, leaves, {grad}, /*retain_graph=*/true)); };
}

template <class Ours, class Aten>
void add(const std::string& name, at::ScalarType dtype, double forward_bytes, double backward_bytes,
         const std::vector<at::Tensor>& inputs, Ours ours, Aten aten) {
  const std::string suffix = dtype == at::kFloat ? "/fp32" : "/bf16";
  const auto one = [&](const std::string& what, double bytes, const Operation& operation) {
    benchmark::RegisterBenchmark((name + what + suffix).c_str(), [=](benchmark::State& state) {
      measure(state, bytes, operation);
    })->Unit(benchmark::kMillisecond);
  };
  one("/forward/ours", forward_bytes, forward_of(inputs, ours));
  one("/forward/aten", forward_bytes, forward_of(inputs, aten));
  one("/backward/ours", backward_bytes, backward_of(inputs, ours));
  one("/backward/aten", backward_bytes, backward_of(inputs, aten));
}

void add_modules(at::ScalarType dtype) {
  using Inputs = std::vector<at::Tensor>;
  const at::Tensor x = random({kTokens, kDim}, dtype), weight = random({kDim}, dtype);
  const auto bytes = static_cast<double>(x.nbytes());
  add(
      "rms_norm", dtype, 2 * bytes, 3 * bytes, {x, weight},
      [](const Inputs& in) { return rms_norm(in[0], in[1], 1e-5); },
      [](const Inputs& in) { return at::rms_norm(in[0], {kDim}, in[1], 1e-5); });
  const at::Tensor delta = random({kTokens, kDim}, dtype);
  add(
      "rms_norm_of_sum", dtype, 4 * bytes, 3 * bytes, {x, delta, weight},
      [](const Inputs& in) { return rms_norm_of_sum(in[0], in[1], in[2], 1e-5).second; },
      [](const Inputs& in) { return at::rms_norm(in[0] + in[1], {kDim}, in[2], 1e-5); });
  add(
      "swiglu", dtype, 3 * bytes, 5 * bytes, {x, random({kTokens, kDim}, dtype)},
      [](const Inputs& in) { return swiglu(in[0], in[1]); }, [](const Inputs& in) { return at::silu(in[0]) * in[1]; });
  const at::Tensor heads = x.view({4, kTokens / 4, kHeads, kDim / kHeads});
  const at::Tensor angles = at::randn({kTokens / 4, kDim / kHeads / 2});
  const at::Tensor turns = at::polar(at::ones(angles.sizes()), angles);
  add(
      "rotary", dtype, 2 * bytes, 2 * bytes, {heads},
      [=](const Inputs& in) { return rotary(in[0], turns, RotaryPairs::kNeighbours); },
      [=](const Inputs& in) {
        std::vector<int64_t> sizes = in[0].sizes().vec();
        sizes.back() /= 2;
        sizes.push_back(2);
        const at::Tensor pairs = at::view_as_complex(in[0].to(at::kFloat).reshape(sizes));
        return at::view_as_real(pairs * turns.unsqueeze(1)).flatten(3).to(in[0].scalar_type());
      });
}

// Both halves together: one reading, one writing, as the loss does it for a chunk.
void add_cross_entropy(at::ScalarType dtype) {
  const at::Tensor logits = random({kTokens, kVocabulary}, dtype),
                   labels = at::randint(kVocabulary, {kTokens}, at::kLong);
  const auto bytes = 3 * static_cast<double>(logits.nbytes());
  const std::string suffix = dtype == at::kFloat ? "/fp32" : "/bf16";
  benchmark::RegisterBenchmark(("cross_entropy/ours" + suffix).c_str(), [=](benchmark::State& state) {
    const LogitColumns columns{.vocabulary = kVocabulary, .ignore_index = -100};
    measure(state, bytes, [=] {
      const LogitRows rows = logit_rows(logits, labels, columns);
      logit_gradient_(logits, labels, rows.largest, rows.sum, columns, 1.0);
    });
  })->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark(("cross_entropy/aten" + suffix).c_str(), [=](benchmark::State& state) {
    const at::Tensor leaf = logits.detach().clone().set_requires_grad(true);
    measure(state, bytes, [=] {
      leaf.mutable_grad().reset();
      at::cross_entropy_loss(leaf.to(at::kFloat), labels, {}, at::Reduction::Sum, -100).backward();
    });
  })->Unit(benchmark::kMillisecond);
}

// What is left to ATen.
void add_rest() {
  const at::Tensor parameter = at::randn({1 << 23}), grad = at::randn({1 << 23}) * 1e-3;
  const auto bytes = static_cast<double>(parameter.nbytes());
  benchmark::RegisterBenchmark("adamw/aten/fp32", [=](benchmark::State& state) {
    const at::Tensor first = at::empty_like(grad).zero_(), second = at::empty_like(grad).zero_(), step = at::ones({});
    measure(state, 7 * bytes, [=] {
      at::_fused_adamw_({parameter}, {grad}, {first}, {second}, /*max_exp_avg_sqs=*/at::TensorList{}, {step}, 1e-3, 0.9,
                        0.95, 0.1, 1e-8, false, false);
    });
  })->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("norm/ours/fp32", [=](benchmark::State& state) {
    measure(state, bytes, [=] { benchmark::DoNotOptimize(sum_of_squares({grad})); });
  })->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("norm/aten/fp32", [=](benchmark::State& state) {
    measure(state, bytes, [=] { benchmark::DoNotOptimize(at::linalg_vector_norm(grad)); });
  })->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("scale/aten/fp32", [=](benchmark::State& state) {
    at::Tensor scaled = grad.clone();
    measure(state, 2 * bytes, [=]() mutable { scaled.mul_(0.999); });
  })->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("cast/aten/fp32 to bf16", [=](benchmark::State& state) {
    const at::Tensor to = at::empty_like(grad, at::kBFloat16);
    measure(state, 1.5 * bytes, [=] { to.copy_(grad); });
  })->Unit(benchmark::kMillisecond);
  for (const int64_t vocabulary : {2048, 128256}) {
    const at::Tensor of_tokens = at::randn({kTokens, kDim}), indices = at::randint(vocabulary, {kTokens}, at::kLong);
    const double moved = static_cast<double>(of_tokens.nbytes()) * 2 + static_cast<double>(vocabulary * kDim * 4);
    benchmark::RegisterBenchmark(
        ("embedding_backward/aten/fp32/" + std::to_string(vocabulary)).c_str(),
        [=](benchmark::State& state) {
          measure(state, moved, [=] {
            benchmark::DoNotOptimize(at::embedding_dense_backward(of_tokens, indices, vocabulary, -1, false));
          });
        })
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace titan::kernels

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    titan::kernels::add_modules(dtype);
    titan::kernels::add_cross_entropy(dtype);
  }
  titan::kernels::add_rest();
  benchmark::RunSpecifiedBenchmarks();
}
