// All techniques together: layouts in which every pair of settings (pp, dp_replicate, dp_shard, cp, tp of 1 and 2,
// activation checkpointing, accumulation, schedule, dtype) meets at least once, on up to 16 ranks, by titan verify and
// against stored losses of one device. Minutes, so all of them only with TITAN_TEST_ALL=1; one always runs.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

// A degree, mode or dtype that is not named is 1, none or fp32. The schedule counts with pp=2 only.
const std::vector<std::string>& layouts() {
  static const std::vector<std::string> all{
      "ac=full, accum=2",
      "pp=2, ac=full, accum=2, schedule=Interleaved1F1B",
      "dp_shard=2, ac=op, dtype=bf16",
      "pp=2, ac=2, accum=2, schedule=LoopedBFS",
      "pp=2, ac=2, schedule=GPipe, dtype=bf16",
      "pp=2, accum=2, schedule=1F1B, dtype=bf16",
      "pp=2, accum=2, schedule=LoopedBFS, dtype=bf16",
      "pp=2, ac=full, schedule=GPipe",
      "dp_replicate=2, cp=2, accum=2",
      "dp_shard=2, tp=2, ac=2, accum=2",
      "pp=2, cp=2, ac=op, schedule=1F1B, dtype=bf16",
      "pp=2, dp_replicate=2, ac=op, accum=2, schedule=GPipe",
      "pp=2, dp_replicate=2, accum=2, schedule=Interleaved1F1B, dtype=bf16",
      "pp=2, dp_shard=2, ac=op, schedule=Interleaved1F1B",
      "pp=2, dp_replicate=2, tp=2, ac=op, accum=2, schedule=LoopedBFS, dtype=bf16",
      "pp=2, dp_replicate=2, dp_shard=2, ac=2, schedule=1F1B",
      "pp=2, dp_shard=2, cp=2, ac=full, schedule=LoopedBFS",
      "pp=2, cp=2, tp=2, ac=2, schedule=Interleaved1F1B",
      "pp=2, dp_replicate=2, tp=2, ac=full, accum=2, schedule=1F1B, dtype=bf16",
      "pp=2, dp_shard=2, cp=2, tp=2, schedule=GPipe, dtype=bf16",
  };
  return all;
}

using Settings = std::map<std::string, std::string>;

Settings settings_of(const std::string& layout) {
  Settings settings{{"pp", "1"}, {"dp_replicate", "1"}, {"dp_shard", "1"}, {"cp", "1"},
                    {"tp", "1"}, {"accum", "1"},        {"ac", "none"},    {"dtype", "fp32"}};
  for (size_t begin = 0; begin < layout.size();) {
    const size_t equals = layout.find('=', begin), end = std::min(layout.find(", ", equals), layout.size());
    settings[layout.substr(begin, equals - begin)] = layout.substr(equals + 1, end - equals - 1);
    begin = end + 2;
  }
  return settings;
}

TEST(Compositions, MeetInPairs) {
  std::set<Settings::value_type> all;
  std::set<std::pair<Settings::value_type, Settings::value_type>> met;
  for (const std::string& layout : layouts()) {
    const Settings settings = settings_of(layout);
    all.insert(settings.begin(), settings.end());
    for (const auto& one : settings) {
      for (const auto& other : settings) met.insert({one, other});
    }
  }
  EXPECT_EQ(all.size(), 7u * 2 + 2 * 4);  // of 7 settings two values each, of ac and schedule four
  for (const auto& one : all) {
    for (const auto& other : all) {
      const bool exclude_each_other = one.first == other.first && one.second != other.second;
      const Settings::value_type no_pipeline("pp", "1");
      const bool lacks_a_pipeline =
          (one.first == "schedule" && other == no_pipeline) || (other.first == "schedule" && one == no_pipeline);
      if (exclude_each_other || lacks_a_pipeline) continue;
      EXPECT_TRUE(met.count({one, other}) > 0)
          << one.first << "=" << one.second << " and " << other.first << "=" << other.second;
    }
  }
}

// 4 layers, 6 heads in 2 groups; 16 rows of 48 tokens, of several documents each.
std::vector<std::string> job(const std::filesystem::path& folder, const std::vector<std::string>& flags) {
  std::vector<std::string> all{
      "--model.args.n_layers=4",
      "--model.args.n_heads=6",
      "--model.args.n_kv_heads=2",
      "--model.args.attn_mask_type=block_causal",
      "--training.local_batch_size=16",
      "--training.global_batch_size=16",
      "--training.dataset_path=" + (test::tiny_golden().parent_path() / "llama3_documents" / "corpus").string()};
  all.insert(all.end(), flags.begin(), flags.end());
  return test::tiny_job(TITAN_BINARY, folder, all);
}

TEST(Compositions, Hold) {
  std::vector<std::string> some{"pp=2, cp=2, tp=2, ac=2, schedule=Interleaved1F1B"};
  if (test::runs_all()) some = layouts();
  std::string text;
  for (const std::string& layout : some) text += (text.empty() ? "" : "; ") + layout;
  const test::OutputFolder folder;
  std::vector<std::string> argv = job(folder.path(), {"--steps", "3", "--layouts", text});
  argv[1] = "verify";
  const test::Finished finished = test::run_program(argv, {.timeout_seconds = 1200});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_NE(finished.out.find("verdict: all " + std::to_string(some.size()) + " layouts hold"), std::string::npos)
      << finished.out;
}

// tests/golden/compositions/losses.txt: one device's, made by this program and kept, so that a change which moves all
// layouts alike is seen as well.
TEST(Compositions, LossesAreTheStoredOnes) {
  std::vector<double> golden;
  std::ifstream lines(test::tiny_golden().parent_path() / "compositions" / "losses.txt");
  for (double loss = 0; lines >> loss;) golden.push_back(loss);
  ASSERT_EQ(golden.size(), 10u);

  const auto expect_golden = [&](const std::vector<std::string>& degrees, int64_t num_ranks) {
    const test::OutputFolder folder;
    std::vector<std::string> argv = job(folder.path(), degrees);
    const std::vector<std::string> launch{"launch", "--nproc-per-node", std::to_string(num_ranks), "--"};
    if (num_ranks > 1) argv.insert(argv.begin() + 1, launch.begin(), launch.end());
    const test::Finished finished = test::run_program(argv, {.timeout_seconds = 600});
    ASSERT_EQ(finished.exit_code, 0) << finished.out << finished.err;
    const auto steps = test::logged_steps(folder.path());
    ASSERT_EQ(steps.size(), golden.size());
    for (size_t i = 0; i < golden.size(); ++i) {
      EXPECT_LT(std::abs(steps[i].loss / golden[i] - 1), 1e-5) << num_ranks << " ranks, step " << i + 1;
    }
  };
  const std::string pp = "--parallelism.pipeline_parallel_degree=2", cp = "--parallelism.context_parallel_degree=2",
                    tp = "--parallelism.tensor_parallel_degree=2";
  expect_golden({}, 1);
  expect_golden({pp, cp}, 4);
  if (!test::runs_all()) return;
  const std::string eight = "--training.local_batch_size=8", four = "--training.local_batch_size=4";
  expect_golden({pp, cp, tp, "--parallelism.data_parallel_shard_degree=2", eight}, 16);
  expect_golden(
      {cp, tp, "--parallelism.data_parallel_replicate_degree=2", "--parallelism.data_parallel_shard_degree=2", four},
      16);
}

}  // namespace
}  // namespace titan
