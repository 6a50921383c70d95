// bench_collectives [BACKEND[,BACKEND]] [NUM_RANKS[,NUM_RANKS]] [OPERATION[,OPERATION]] [BYTES[,BYTES]]: how long
// operations between ranks of this machine take, each rank a process, through collectives.h and p2p.h as everything
// else calls them. Prints the best and the median of several series, of each the mean per operation. What was measured
// is in collectives.md.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <sstream>

#include "titan/distributed/collectives.h"
#include "titan/distributed/p2p.h"
#include "titan/distributed/world.h"
#include "titan/launch/launch.h"

namespace titan {
namespace {

using namespace distributed;  // NOLINT(google-build-using-namespace): a program of one file
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream stream(list);
  for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
  return words;
}

// `bytes` are those of the whole: what is reduced, or what all ranks have together.
std::function<void()> operation(const std::string& name, int64_t bytes, ProcessGroup& group) {
  const int64_t numel = std::max<int64_t>(bytes / 4 / group.size(), 1) * group.size();
  const at::Tensor whole = at::zeros({numel}), part = at::zeros({numel / group.size()});
  // Of zeros, which do not grow.
  if (name == "all_reduce") return [=, &group] { all_reduce_(whole, ReduceOp::kSum, group).wait(); };
  if (name == "all_gather") return [=, &group] { all_gather_into(whole, part, group).wait(); };
  if (name == "reduce_scatter") return [=, &group] { reduce_scatter_into(part, whole, ReduceOp::kSum, group).wait(); };
  if (name == "broadcast") return [=, &group] { broadcast_(whole, 0, group).wait(); };
  if (name == "all_to_all") return [=, &group] { all_to_all(whole, group).wait(); };
  if (name == "barrier") return [&group] { barrier(group); };
  // There and back, between the first two ranks.
  TORCH_CHECK_VALUE(name == "ping_pong", "expected all_reduce, all_gather, reduce_scatter, broadcast, all_to_all, ",
                    "ping_pong or barrier, got '", name, "'");
  return [=, &group] {
    if (group.rank() == 0) exchange({send(whole, 1)}, group).wait();
    if (group.rank() < 2) exchange({receive(whole, 1 - group.rank())}, group).wait();
    if (group.rank() == 1) exchange({send(whole, 0)}, group).wait();
  };
}

// Equal on all ranks, so that they repeat equally often.
double slowest(Seconds own, ProcessGroup& group) {
  return all_reduce(at::full({}, own.count(), at::kDouble), ReduceOp::kMax, group).wait().item<double>();
}

void measure(const std::string& backend, const std::string& name, int64_t bytes, ProcessGroup& group) {
  constexpr int kSeries = 7;
  constexpr double kSecondsPerSeries = 0.15;
  const auto run = operation(name, bytes, group);
  const auto time = [&](int64_t times) {
    barrier(group);
    const auto begin = Clock::now();
    for (int64_t i = 0; i < times; ++i) run();
    return slowest(Clock::now() - begin, group) / static_cast<double>(times);
  };
  time(3);
  const auto times = std::clamp(static_cast<int64_t>(kSecondsPerSeries / time(3)), int64_t{3}, int64_t{20000});
  std::vector<double> means;
  for (int series = 0; series < kSeries; ++series) means.push_back(1e6 * time(times));
  std::sort(means.begin(), means.end());
  if (group.rank() != 0) return;
  std::puts(fmt::format("{:5} {:2} ranks  {:14} {:>9} bytes  best {:10.1f} us  median {:10.1f} us", backend,
                        group.size(), name, bytes, means.front(), means[kSeries / 2])
                .c_str());
  std::fflush(stdout);
}

void run_rank(const std::string& backend, const std::string& operations, const std::string& sizes) {
  WorldOptions options;
  options.backend = backend;
  World world(rank_info_from_environment(), options);
  const auto group = world.group();
  for (const std::string& name : split(operations)) {
    for (const std::string& bytes : split(sizes)) measure(backend, name, std::stoll(bytes), *group);
  }
}

int run(int argc, char** argv) {
  const auto argument = [&](int i, const char* otherwise) { return std::string(argc > i ? argv[i] : otherwise); };
  const std::string backends = argument(1, "gloo,shm"), ranks = argument(2, "2,4,8"),
                    operations = argument(3, "all_reduce,all_gather,reduce_scatter,broadcast,all_to_all,ping_pong"),
                    sizes = argument(4, "4096,1048576,16777216");
  if (std::getenv("RANK") != nullptr) {
    run_rank(backends, operations, sizes);
    return 0;
  }
  int code = 0;
  for (const std::string& num_ranks : split(ranks)) {
    for (const std::string& backend : split(backends)) {
      launch::LaunchOptions options;
      options.nproc_per_node = std::stoll(num_ranks);
      options.command = {launch::own_program(), backend, num_ranks, operations, sizes};
      options.environment = {{"OMP_NUM_THREADS", "1"}};
      code = std::max(code, launch::launch_ranks(options));
    }
  }
  return code;
}

}  // namespace
}  // namespace titan

int main(int argc, char** argv) {
  try {
    return titan::run(argc, argv);
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "bench_collectives: %s\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_collectives: %s\n", error.what());
  }
  return 1;
}
