// bench_matrix_products: the three products of a linear layer (forward x W^T, gradient of x dY W, gradient of W dY^T x)
// by ATen's at::mm, by oneDNN's linear and, in fp32, on the matrix unit, at the sizes of small models, in fp32 and
// bf16. What was measured, and why nn::Linear calls at::linear, is in matrix_products.md.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/mkldnn_linear.h>
#include <ATen/ops/mkldnn_linear_backward_input.h>
#include <ATen/ops/mkldnn_linear_backward_weights.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include <string>

#include "titan/kernels/matrix_product.h"

namespace titan {
namespace {

struct Layer {
  const char* name;
  int64_t tokens, in, out;
};

struct Operands {
  Operands(const Layer& layer, at::ScalarType dtype)
      : x(at::randn({layer.tokens, layer.in}).to(dtype)),
        weight(at::randn({layer.out, layer.in}).to(dtype)),
        grad(at::randn({layer.tokens, layer.out}).to(dtype)) {}
  at::Tensor x, weight, grad;
};

template <class F>
void measure(benchmark::State& state, const Layer& layer, F&& product) {
  const at::NoGradGuard no_grad;
  product();  // oneDNN compiles its kernel
  for (auto _ : state) benchmark::DoNotOptimize(product());
  const auto flops = static_cast<double>(2 * layer.tokens * layer.in * layer.out);
  state.counters["FLOP/s"] =
      benchmark::Counter(flops * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

using Function = void(benchmark::State& state, const Layer& layer, at::ScalarType dtype);

void forward(benchmark::State& state, const Layer& layer, at::ScalarType dtype) {
  const Operands o(layer, dtype);
  measure(state, layer, [&] { return at::mm(o.x, o.weight.t()); });
}
void gradient_of_input(benchmark::State& state, const Layer& layer, at::ScalarType dtype) {
  const Operands o(layer, dtype);
  measure(state, layer, [&] { return at::mm(o.grad, o.weight); });
}
void gradient_of_weight(benchmark::State& state, const Layer& layer, at::ScalarType dtype) {
  const Operands o(layer, dtype);
  measure(state, layer, [&] { return at::mm(o.grad.t(), o.x); });
}

template <Function* function>
void on_matrix_unit(benchmark::State& state, const Layer& layer, at::ScalarType dtype) {
  kernels::use_matrix_unit_for_fp32(true);
  function(state, layer, dtype);
  kernels::use_matrix_unit_for_fp32(false);
}

// oneDNN's operators take and give tensors of its own, which here share memory with plain ones.
void forward_of_onednn(benchmark::State& state, const Layer& layer, at::ScalarType dtype) {
  const Operands o(layer, dtype);
  const at::Tensor x = o.x.to_mkldnn();
  measure(state, layer, [&] { return at::mkldnn_linear(x, o.weight, {}); });
}
void gradient_of_input_of_onednn(benchmark::State& state, const Layer& layer, at::ScalarType dtype) {
  const Operands o(layer, dtype);
  const at::Tensor grad = o.grad.to_mkldnn();
  measure(state, layer, [&] { return at::mkldnn_linear_backward_input(o.x.sizes(), grad, o.weight); });
}
void gradient_of_weight_of_onednn(benchmark::State& state, const Layer& layer, at::ScalarType dtype) {
  const Operands o(layer, dtype);
  const at::Tensor grad = o.grad.to_mkldnn(), x = o.x.to_mkldnn();
  measure(state, layer, [&] { return at::mkldnn_linear_backward_weights(grad, x, o.weight, /*bias_defined=*/false); });
}

void register_all() {
  for (const Layer& layer : {Layer{"debugmodel wq", 4096, 256, 256}, Layer{"debugmodel w1", 4096, 256, 768},
                             Layer{"debugmodel w2", 4096, 768, 256}, Layer{"29M wq", 2048, 512, 512},
                             Layer{"29M w1", 2048, 512, 1536}, Layer{"29M w2", 2048, 1536, 512}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const auto add = [&](const char* what, Function* function) {
        const std::string name = std::string(layer.name) + "/" + (dtype == at::kFloat ? "fp32" : "bf16") + "/" + what;
        benchmark::RegisterBenchmark(name.c_str(), function, layer, dtype)->Unit(benchmark::kMillisecond);
      };
      add("forward/mm", forward);
      add("gradient of x/mm", gradient_of_input);
      add("gradient of W/mm", gradient_of_weight);
      if (dtype == at::kBFloat16) continue;  // at::mm is oneDNN's there
      add("forward/matrix unit", on_matrix_unit<forward>);
      add("gradient of x/matrix unit", on_matrix_unit<gradient_of_input>);
      add("gradient of W/matrix unit", on_matrix_unit<gradient_of_weight>);
      add("forward/onednn", forward_of_onednn);
      add("gradient of x/onednn", gradient_of_input_of_onednn);
      add("gradient of W/onednn", gradient_of_weight_of_onednn);
    }
  }
}

}  // namespace
}  // namespace titan

int main(int argc, char** argv) {
  titan::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
