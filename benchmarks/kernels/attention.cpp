// bench_attention: titan::attention beside ATen's on the CPU, causal, forward and backward, in fp32 and bf16. Each line
// says the floating-point operations that the visible pairs need (4 and 10 a pair and element of head_dim) by second of
// processor time. What was measured is in attention.md.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include <string>
#include <tuple>

#include "titan/kernels/attention.h"

namespace titan::kernels {
namespace {

struct Shape {
  const char* name;
  int64_t batch, seq, heads, kv_heads, head_dim;

  double flops(int per_pair_and_element) const {
    const int64_t pairs = batch * heads * (seq * (seq + 1) / 2);
    return static_cast<double>(pairs * head_dim * per_pair_and_element);
  }
};

struct Operands {
  Operands(const Shape& s, at::ScalarType dtype)
      : query(at::randn({s.batch, s.seq, s.heads, s.head_dim}).to(dtype)),
        key(at::randn({s.batch, s.seq, s.kv_heads, s.head_dim}).to(dtype)),
        value(at::randn({s.batch, s.seq, s.kv_heads, s.head_dim}).to(dtype)),
        grad_out(at::randn({s.batch, s.seq, s.heads, s.head_dim}).to(dtype)) {}
  at::Tensor query, key, value, grad_out;
};

// ATen's backward wants as many heads of keys as of queries.
at::Tensor by_head(const at::Tensor& x, const Shape& shape) {
  const at::Tensor heads = x.transpose(1, 2);
  return x.size(2) == shape.heads ? heads : heads.repeat_interleave(shape.heads / x.size(2), 1);
}

template <class F>
void measure(benchmark::State& state, double flops, F&& operation) {
  const at::NoGradGuard no_grad;
  operation();
  for (auto _ : state) operation();
  state.counters["FLOP/s"] =
      benchmark::Counter(flops * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void forward_ours(benchmark::State& state, const Shape& shape, at::ScalarType dtype) {
  const Operands x(shape, dtype);
  measure(state, shape.flops(4),
          [&] { benchmark::DoNotOptimize(attention_forward(x.query, x.key, x.value, {.is_causal = true})); });
}

void forward_aten(benchmark::State& state, const Shape& shape, at::ScalarType dtype) {
  const Operands x(shape, dtype);
  const at::Tensor query = by_head(x.query, shape), key = by_head(x.key, shape), value = by_head(x.value, shape);
  measure(state, shape.flops(4), [&] {
    benchmark::DoNotOptimize(at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, true));
  });
}

void backward_ours(benchmark::State& state, const Shape& shape, at::ScalarType dtype) {
  const Operands x(shape, dtype);
  const AttentionMask mask{.is_causal = true};
  const auto [out, logsumexp] = attention_forward(x.query, x.key, x.value, mask);
  measure(state, shape.flops(10), [&, &out = out, &logsumexp = logsumexp] {
    benchmark::DoNotOptimize(attention_backward(x.grad_out, x.query, x.key, x.value, out, logsumexp, mask));
  });
}

void backward_aten(benchmark::State& state, const Shape& shape, at::ScalarType dtype) {
  const Operands x(shape, dtype);
  const at::Tensor query = by_head(x.query, shape), key = by_head(x.key, shape), value = by_head(x.value, shape);
  const auto [out, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, true);
  measure(state, shape.flops(10), [&, &out = out, &logsumexp = logsumexp] {
    benchmark::DoNotOptimize(at::_scaled_dot_product_flash_attention_for_cpu_backward(
        x.grad_out.transpose(1, 2), query, key, value, out, logsumexp, 0.0, true));
  });
}

void register_all() {
  for (const Shape& shape :
       {Shape{"debugmodel, seq 512", 8, 512, 16, 16, 16}, Shape{"debugmodel, seq 2048", 2, 2048, 16, 16, 16},
        Shape{"29M, seq 512", 4, 512, 8, 8, 64}, Shape{"8B's, seq 2048", 1, 2048, 8, 2, 128}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const auto add = [&](const char* what, auto* function) {
        const std::string name = std::string(shape.name) + "/" + (dtype == at::kFloat ? "fp32" : "bf16") + "/" + what;
        benchmark::RegisterBenchmark(name.c_str(), function, shape, dtype)->Unit(benchmark::kMillisecond);
      };
      add("forward/ours", forward_ours);
      add("forward/aten", forward_aten);
      add("backward/ours", backward_ours);
      add("backward/aten", backward_aten);
    }
  }
}

}  // namespace
}  // namespace titan::kernels

int main(int argc, char** argv) {
  titan::kernels::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
