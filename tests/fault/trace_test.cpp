// The whole way: a rank of a real job goes wrong, the job ends, and `titan trace` names the rank and the operation.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/support/launched_ranks.h"
#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"
#include "titan/launch/launch.h"

namespace titan {
namespace {

using Json = nlohmann::json;

struct Layout {
  const char* name;
  int64_t num_ranks;
  std::vector<std::string> flags;
};

const std::vector<Layout>& layouts() {
  static const std::vector<std::string> heads{"--model.args.n_heads=6", "--model.args.n_kv_heads=2",
                                              "--model.args.dim=48"};
  static const auto with_heads = [](std::vector<std::string> flags) {
    flags.insert(flags.end(), heads.begin(), heads.end());
    return flags;
  };
  static const std::vector<Layout> all{
      {"fsdp 3", 3, {}},
      {"tp 2", 2, with_heads({"--parallelism.tensor_parallel_degree=2"})},
      {"fsdp 2 x tp 2", 4, with_heads({"--parallelism.tensor_parallel_degree=2"})},
      {"pp 3",
       3,
       {"--parallelism.pipeline_parallel_degree=3", "--parallelism.pipeline_parallel_schedule=1F1B",
        "--model.args.n_layers=4", "--training.local_batch_size=4"}},
  };
  return all;
}

struct Fault {
  std::string name;
  int64_t rank;
  int64_t operation;
};

// A job with an error planted in one of its ranks.
class FaultyJob {
 public:
  FaultyJob(Layout layout, Fault fault, std::string backend)
      : layout_(std::move(layout)), fault_(std::move(fault)), backend_(std::move(backend)), ranks_(options()) {}

  // Waits for its end, and compares what was planted with what `titan trace --json` says.
  void expect_found() {
    SCOPED_TRACE(std::string(layout_.name) + " on " + backend_ + ": " + fault_.name + " on rank " +
                 std::to_string(fault_.rank) + " from operation " + std::to_string(fault_.operation));
    EXPECT_NE(ranks_.finish(), 0);
    const test::Finished traced =
        test::run_program({TITAN_BINARY, "trace", (folder_.path() / "comm_traces").string(), "--json"});
    const Json planted = Json::parse(std::ifstream(folder_.path() / "fault.json"), nullptr, /*allow_exceptions=*/false);
    const Json found = Json::parse(traced.out, nullptr, /*allow_exceptions=*/false);
    const std::string log = ranks_.out() + ranks_.err() + traced.err;
    ASSERT_TRUE(planted.is_array()) << "the error was not planted\n" << log;
    ASSERT_TRUE(found.is_object()) << log;
    const Json& verdict = found["verdicts"][0];
    const std::string all = planted.dump() + "\n" + found.dump(1) + "\n" + log;
    EXPECT_EQ(verdict["ranks"], Json::array({fault_.rank})) << all;
    const Json place{{"group", verdict["group"]}, {"sequence", verdict["sequence"]}, {"module", verdict["module"]}};
    EXPECT_NE(std::find(planted.begin(), planted.end(), place), planted.end()) << all;
  }

 private:
  launch::LaunchOptions options() const {
    std::vector<std::string> flags{"--training.steps=50000",         "--training.local_batch_size=1",
                                   "--training.seq_len=16",          "--comm.cpu_backend=" + backend_,
                                   "--comm.train_timeout_seconds=3", "--metrics.log_freq=1000000",
                                   "--comm.init_timeout_seconds=60"};
    flags.insert(flags.end(), layout_.flags.begin(), layout_.flags.end());
    launch::LaunchOptions options;
    options.nproc_per_node = layout_.num_ranks;
    options.command = test::tiny_job(TITAN_TRAIN_WITH_FAULT, folder_.path(), flags);
    options.environment = {
        {"TITAN_TEST_FAULT", fault_.name + " " + std::to_string(fault_.rank) + " " + std::to_string(fault_.operation)},
        {"TITAN_TEST_FAULT_REPORT", (folder_.path() / "fault.json").string()}};
    return options;
  }

  Layout layout_;
  Fault fault_;
  std::string backend_;
  test::OutputFolder folder_;
  test::LaunchedRanks ranks_;
};

// Side by side: they spend their time waiting.
TEST(Trace, NamesTheRankAndTheOperation) {
  std::vector<std::unique_ptr<FaultyJob>> jobs;
  const auto start = [&](size_t layout, Fault fault, const char* backend) {
    jobs.push_back(std::make_unique<FaultyJob>(layouts()[layout], std::move(fault), backend));
  };
  start(0, {"hang", 1, 70}, "shm");
  start(2, {"kill", 3, 90}, "shm");
  start(0, {"shape", 2, 61}, "gloo");
  start(1, {"skip", 0, 120}, "shm");
  start(2, {"swap", 1, 150}, "shm");
  start(3, {"hang", 1, 100}, "gloo");
  for (const auto& job : jobs) job->expect_found();
}

// Forty at random, with --all.
TEST(Trace, NamesThemWhateverHappens) {
  if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  std::mt19937 random(20260103);
  const auto draw = [&](int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random); };
  for (size_t batch = 0; batch < 10; ++batch) {
    std::vector<std::unique_ptr<FaultyJob>> jobs;
    for (size_t i = 0; i < 4; ++i) {
      const Layout& layout = layouts()[(4 * batch + i) % layouts().size()];
      const std::vector<std::string> faults{"hang", "kill", "shape", "skip", "swap"};
      const Fault fault{faults[static_cast<size_t>(draw(5))], draw(layout.num_ranks), 60 + draw(200)};
      jobs.push_back(std::make_unique<FaultyJob>(layout, fault, draw(2) == 0 ? "shm" : "gloo"));
    }
    for (const auto& job : jobs) job->expect_found();
  }
}

}  // namespace
}  // namespace titan
