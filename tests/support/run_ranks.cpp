#include "tests/support/run_ranks.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

#include "titan/distributed/staged_backend.h"

namespace titan::test {

void run_ranks(int64_t num_ranks, const std::string& backend,
               const std::function<void(std::shared_ptr<distributed::World>)>& body, const RanksOptions& options) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::mutex mutex;
  std::condition_variable changed;
  int64_t num_over = 0;

  const auto run = [&](int64_t rank) {
    try {
      distributed::RankInfo info;
      info.rank = info.local_rank = rank;
      info.world_size = info.local_world_size = num_ranks;
      distributed::WorldOptions world_options;
      world_options.backend = backend;
      world_options.make_backend = options.make_backend;
      if (backend == "staged") {
        world_options.make_backend = distributed::staged_over(distributed::backend_factory("shm"), at::kCPU);
      }
      world_options.init_timeout = options.timeout;
      body(std::make_shared<distributed::World>(info, store, world_options));
    } catch (const c10::Error& error) {
      ADD_FAILURE() << "rank " << rank << ": " << error.what_without_backtrace();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "rank " << rank << ": " << error.what();
    }
    const std::scoped_lock lock(mutex);
    ++num_over;
    changed.notify_all();
  };
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < num_ranks; ++rank) threads.emplace_back(run, rank);

  std::unique_lock lock(mutex);
  if (!changed.wait_for(lock, options.limit, [&] { return num_over == num_ranks; })) {
    // A thread cannot be ended from outside.
    const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
    std::fprintf(stderr, "%s.%s: %lld of %lld ranks hang\n", test->test_suite_name(), test->name(),
                 static_cast<long long>(num_ranks - num_over), static_cast<long long>(num_ranks));
    std::_Exit(124);
  }
  lock.unlock();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace titan::test
