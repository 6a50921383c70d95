// bench_dtensor: what DTensors cost beside plain tensors, on tensors of a few bytes, where nothing but the cost of the
// call is left. One process plays one rank of four, so nothing is sent. What was measured is in operators.md.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/clone.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/transpose.h>
#include <benchmark/benchmark.h>

#include "titan/dtensor/dtensor.h"

namespace titan::dtensor {
namespace {

constexpr int64_t kNumRanks = 4;

const Mesh& mesh() {
  static const Mesh made = [] {
    distributed::RankInfo info;
    info.world_size = info.local_world_size = kNumRanks;
    distributed::WorldOptions options;
    options.backend = "fake";
    return Mesh(distributed::DeviceMesh(std::make_shared<distributed::World>(info, options), {{"dp", kNumRanks}}));
  }();
  return made;
}

enum class Kind { kPlain, kDTensor };

// A local part of 4 x 4, with gradients if they are on.
at::Tensor operand(Kind kind, const Placement& placement) {
  at::Tensor local = at::ones({4, 4});
  if (kind == Kind::kDTensor) local = from_local(local, mesh(), {placement});
  return local.set_requires_grad(at::GradMode::is_enabled());
}

template <class Operation>
void run(benchmark::State& state, Kind kind, bool with_gradients, Operation operation) {
  const at::AutoGradMode grad_mode(with_gradients);
  const at::Tensor a = operand(kind, shard(0)), b = operand(kind, shard(0)), whole = operand(kind, replicate());
  for (auto _ : state) benchmark::DoNotOptimize(operation(a, b, whole));
}

void add(benchmark::State& state, Kind kind, bool with_gradients) {
  run(state, kind, with_gradients,
      [](const at::Tensor& a, const at::Tensor& b, const at::Tensor&) { return at::add(a, b); });
}
void multiply_in_place(benchmark::State& state, Kind kind, bool with_gradients) {
  // Not on a leaf.
  const at::AutoGradMode grad_mode(with_gradients);
  at::Tensor x = operand(kind, shard(0)).clone();
  for (auto _ : state) benchmark::DoNotOptimize(x.detach().mul_(1.0));
}
void silu(benchmark::State& state, Kind kind, bool with_gradients) {
  run(state, kind, with_gradients,
      [](const at::Tensor& a, const at::Tensor&, const at::Tensor&) { return at::silu(a); });
}
void transpose(benchmark::State& state, Kind kind, bool with_gradients) {
  run(state, kind, with_gradients,
      [](const at::Tensor& a, const at::Tensor&, const at::Tensor&) { return a.transpose(0, 1); });
}
void mm(benchmark::State& state, Kind kind, bool with_gradients) {
  run(state, kind, with_gradients,
      [](const at::Tensor& a, const at::Tensor&, const at::Tensor& whole) { return at::mm(a, whole); });
}
void view(benchmark::State& state, Kind kind, bool with_gradients) {
  run(state, kind, with_gradients, [](const at::Tensor& a, const at::Tensor&, const at::Tensor&) {
    return a.view({a.size(0), 2, 2});
  });
}

void from_local_part(benchmark::State& state) {
  const at::Tensor local = at::ones({4, 4});
  const Placements placements{shard(0)};
  for (auto _ : state) benchmark::DoNotOptimize(from_local(local, mesh(), placements));
}

void to_local_part(benchmark::State& state) {
  const at::Tensor x = operand(Kind::kDTensor, shard(0));
  for (auto _ : state) benchmark::DoNotOptimize(to_local(x));
}

// No communication: each rank keeps its part.
void redistribute_locally(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = from_local(at::ones({4, 4}), mesh(), {replicate()});
  const Placements placements{shard(0)};
  for (auto _ : state) benchmark::DoNotOptimize(redistribute(x, placements));
}

void register_pair(const std::string& name, void (*operation)(benchmark::State&, Kind, bool)) {
  for (const bool with_gradients : {false, true}) {
    const std::string suffix = with_gradients ? "/with gradients" : "";
    benchmark::RegisterBenchmark((name + suffix + "/plain").c_str(), operation, Kind::kPlain, with_gradients);
    benchmark::RegisterBenchmark((name + suffix + "/dtensor").c_str(), operation, Kind::kDTensor, with_gradients);
  }
}

}  // namespace
}  // namespace titan::dtensor

int main(int argc, char** argv) {
  namespace dtensor = titan::dtensor;
  dtensor::register_pair("add", dtensor::add);
  dtensor::register_pair("silu", dtensor::silu);
  dtensor::register_pair("mm", dtensor::mm);
  dtensor::register_pair("view", dtensor::view);
  dtensor::register_pair("transpose", dtensor::transpose);
  dtensor::register_pair("mul_", dtensor::multiply_in_place);
  benchmark::RegisterBenchmark("from_local", dtensor::from_local_part);
  benchmark::RegisterBenchmark("to_local", dtensor::to_local_part);
  benchmark::RegisterBenchmark("redistribute R -> S(0)", dtensor::redistribute_locally);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
