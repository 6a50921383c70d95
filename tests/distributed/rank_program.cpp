// rank_program BACKEND SCENARIO TIMEOUT_SECONDS: one rank of a job that its environment describes, for tests in which
// ranks die. Prints "ready" once all ranks have met, and ends as the scenario says: "loop" sums for ever, "throw" has
// rank 1 throw, "mismatch" has rank 1 call another collective than the others, "end" comes to a good end.
#include <ATen/ops/ones.h>
#include <c10/util/Exception.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "titan/distributed/collectives.h"
#include "titan/distributed/world.h"

namespace {

using namespace titan::distributed;  // NOLINT(google-build-using-namespace): a program of one file

void run(const std::string& backend, const std::string& scenario, std::chrono::milliseconds timeout) {
  WorldOptions options;
  options.backend = backend;
  options.init_timeout = std::chrono::seconds(60);
  World world(rank_info_from_environment(), options);
  const auto group = world.group();
  const auto sum = [&] { all_reduce(at::ones({1000}), ReduceOp::kSum, *group).wait(); };
  sum();
  world.set_timeout(timeout);
  std::puts("ready");
  std::fflush(stdout);
  for (int i = 0; i < 3; ++i) sum();
  if (scenario == "throw" && world.rank() == 1) throw std::runtime_error("a mistake of its own");
  if (scenario == "mismatch" && world.rank() == 1) all_gather(at::ones({1000}), *group).wait();
  while (scenario != "end") sum();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    run(argv[1], argv[2], std::chrono::seconds(std::atoi(argv[3])));
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "%s\n", error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
