// bench_recorder: what the flight recorder adds to an operation between ranks, and what a dump takes. One thread, no
// other rank: the calls that InFlight makes for one collective, on a ring that is full. What was measured is in
// recorder.md.
#include <ATen/ops/zeros.h>
#include <benchmark/benchmark.h>

#include <torch/csrc/distributed/c10d/Work.hpp>

#include "titan/distributed/collectives.h"
#include "titan/distributed/recorder/dump.h"
#include "titan/distributed/recorder/flight_recorder.h"
#include "titan/distributed/world.h"

namespace titan::distributed {
namespace {

constexpr int64_t kCapacity = 20000;  // comm.trace_buf_size as it is by default

recorder::Channel* channel_of(recorder::FlightRecorder& recorder) {
  return recorder.channel({.key = "0,1", .name = "dp_shard", .backend = "shm", .ranks = {0, 1}});
}

int64_t record_one(recorder::FlightRecorder& recorder, recorder::Channel* channel, int64_t sequence,
                   const at::Tensor& input, const at::Tensor& output) {
  const int64_t id = recorder.begin({channel, sequence, "all_gather_into", "_all_gather_base", input, output});
  recorder.started(id, nullptr);
  recorder.waiting(id);
  recorder.waited(id, at::kCPU);
  return id;
}

void fill(recorder::FlightRecorder& recorder, recorder::Channel* channel) {
  const at::Tensor input = at::zeros({2, 3, 4}), output = at::zeros({4, 3, 4});
  const recorder::ServedModule served(std::make_shared<const std::string>("layers.7"));
  for (int64_t i = 0; i < kCapacity; ++i) record_one(recorder, channel, i, input, output);
}

// Begin to end of one operation, four calls.
void BM_Record(benchmark::State& state) {
  recorder::FlightRecorder recorder(kCapacity);
  recorder::Channel* const channel = channel_of(recorder);
  fill(recorder, channel);
  const at::Tensor input = at::zeros({2, 3, 4}), output = at::zeros({4, 3, 4});
  const recorder::ServedModule served(std::make_shared<const std::string>("layers.7"));
  int64_t sequence = 0;
  for (auto _ : state) benchmark::DoNotOptimize(record_one(recorder, channel, sequence++, input, output));
}
BENCHMARK(BM_Record);

// The name of the module, put up and taken down around a module's call.
void BM_ServedModule(benchmark::State& state) {
  const auto name = std::make_shared<const std::string>("layers.7.attention");
  for (auto _ : state) {
    const recorder::ServedModule served(name);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_ServedModule);

// The whole operation on the fake backend, with the recorder (1) and without (0).
void BM_AllReduceOnFake(benchmark::State& state) {
  WorldOptions options;
  options.backend = "fake";
  options.recorder.capacity = state.range(0) == 1 ? kCapacity : 0;
  RankInfo info;
  info.world_size = 2;
  World world(info, options);
  const auto group = world.group();
  const at::Tensor x = at::zeros({16});
  for (auto _ : state) all_reduce_(x, ReduceOp::kSum, *group).wait();
}
BENCHMARK(BM_AllReduceOnFake)->Arg(0)->Arg(1);

void BM_Dump(benchmark::State& state) {
  recorder::FlightRecorder recorder(kCapacity);
  fill(recorder, channel_of(recorder));
  size_t bytes = 0;
  for (auto _ : state) bytes = to_pickle(recorder, {}).size();
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(BM_Dump)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace titan::distributed

BENCHMARK_MAIN();
