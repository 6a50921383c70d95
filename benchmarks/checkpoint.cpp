// bench_checkpoint FOLDER MIB REPEATS: how long ranks that share MIB of fp32 state, sharded by rows as FSDP does,
// take to save it and to load it; how long an asynchronous save makes them wait (stall), and how much longer matrix
// products as long as a forward and backward take with it than alone (longer), since it shares the cores with them. One
// JSON line of minima, by rank 0. Its ranks come from RANK and WORLD_SIZE (torchrun --no-python). checkpoint_torch.py
// measures the same of torch's DCP.
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "titan/checkpoint/checkpointer.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/device_mesh.h"
#include "titan/dtensor/dtensor.h"
#include "titan/logging/logger.h"

namespace titan {
namespace {

constexpr int64_t kColumns = 1024, kRows = 4096;  // 16 MiB a tensor
constexpr int kProducts = 400;                    // some seconds

double own_seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Until all ranks are through.
double seconds(distributed::World& world, const std::function<void()>& work) {
  distributed::barrier(*world.group());
  return own_seconds([&] {
    work();
    distributed::barrier(*world.group());
  });
}

double peak_mib() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void run(const std::filesystem::path& folder, int64_t mib, int repeats) {
  const auto world =
      std::make_shared<distributed::World>(distributed::rank_info_from_environment(), distributed::WorldOptions{});
  logging::set_level(logging::Level::kError);
  const dtensor::Mesh mesh(distributed::DeviceMesh(world, {{"dp_shard", world->size()}}));
  checkpoint::TrainState state;
  for (int64_t i = 0; i < mib / 16; ++i) {
    state.model["w" + std::to_string(i)] = dtensor::from_local(at::randn({kRows / world->size(), kColumns}), mesh,
                                                               {dtensor::shard(0)}, at::IntArrayRef({kRows, kColumns}));
  }
  config::Checkpoint settings;
  settings.enable = true;
  settings.keep_latest_k = 0;
  checkpoint::Checkpointer writer(settings, folder, "", std::nullopt, world);
  settings.async_mode = "async";
  checkpoint::Checkpointer background(settings, folder, "", std::nullopt, world);
  const double before_mib = peak_mib();

  const auto clear = [&] {  // both write to a new folder
    if (world->rank() == 0) std::filesystem::remove_all(folder / "checkpoint");
    distributed::barrier(*world->group());
  };
  const at::Tensor factor = at::randn({kColumns, kColumns});
  at::Tensor product = at::empty_like(factor);
  const auto compute = [&] {
    for (int i = 0; i < kProducts; ++i) at::mm_out(product, factor, factor);
  };
  double save = 1e9, load = 1e9, stall = 1e9, alone = 1e9, beside = 1e9;
  for (int i = 0; i < repeats; ++i) {
    clear();
    save = std::min(save, seconds(*world, [&] { writer.save(1, state, /*last_step=*/false); }));
    const checkpoint::LoadSource source{.path = folder / "checkpoint" / "step-1", .step = 1, .model_only = true};
    load = std::min(load, seconds(*world, [&] { writer.load(source, state); }));
  }
  const double after_mib = peak_mib();
  for (int i = 0; i < repeats; ++i) {
    clear();
    alone = std::min(alone, seconds(*world, compute));
    double waited = 0;
    beside = std::min(beside, seconds(*world, [&] {
                        waited = seconds(*world, [&] { background.save(2, state, /*last_step=*/false); });
                        compute();
                        waited += own_seconds([&] { background.wait_until_copied(); });
                      }));
    stall = std::min(stall, waited);
    background.wait_for_save();
  }
  clear();
  if (world->rank() != 0) return;
  std::printf(
      "{\"ranks\": %ld, \"save\": %.3f, \"load\": %.3f, \"stall\": %.4f, \"alone\": %.3f, \"longer\": %.3f, "
      "\"save_mib\": %.0f, \"async_mib\": %.0f}\n",
      static_cast<long>(world->size()), save, load, stall, alone, beside - alone, after_mib - before_mib,
      peak_mib() - before_mib);
}

}  // namespace
}  // namespace titan

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: bench_checkpoint FOLDER MIB REPEATS\n", stderr);
    return 2;
  }
  try {
    titan::run(argv[1], std::atol(argv[2]), std::atoi(argv[3]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_checkpoint: %s\n", error.what());
    return 1;
  }
  return 0;
}
