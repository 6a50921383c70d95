// titan verify over many sharded layouts of models of several shapes: minutes, so only with TITAN_TEST_ALL=1.
// verify_test.cpp has a few of them that always run.
#include <gtest/gtest.h>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

struct Shape {
  std::string name;
  std::vector<std::string> flags;
};

void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

class VerifySharding : public testing::TestWithParam<std::tuple<Shape, std::string>> {
 protected:
  void SetUp() override {
    if (!test::runs_all()) GTEST_SKIP() << "runs with --all";
  }
};

TEST_P(VerifySharding, Holds) {
  const auto& [shape, max_norm] = GetParam();
  const test::OutputFolder folder;
  std::vector<std::string> argv = test::tiny_job(TITAN_BINARY, folder.path(), shape.flags);
  argv[1] = "verify";
  const std::string layouts =
      "dp_shard=2; dp_shard=3; dp_shard=4; dp_shard=8; dp_replicate=2, dp_shard=2; dp_replicate=2, dp_shard=3;"
      "dp_shard=2, accum=3; dp_shard=4, accum=3; dp_replicate=2, dp_shard=2, accum=3;"
      "dp_shard=2, dtype=bf16; dp_shard=3, dtype=bf16; dp_shard=2, accum=3, dtype=bf16";
  for (const std::string& flag : {std::string("--training.global_batch_size=24"),
                                  std::string("--training.local_batch_size=24"), "--training.max_norm=" + max_norm,
                                  std::string("--steps"), std::string("3"), std::string("--layouts"), layouts}) {
    argv.push_back(flag);
  }
  for (const char* reshard : {"default", "always", "never"}) {
    argv.push_back(std::string("--parallelism.fsdp_reshard_after_forward=") + reshard);
    const test::Finished finished = test::run_program(argv, {.timeout_seconds = 600});
    argv.pop_back();
    EXPECT_EQ(finished.exit_code, 0) << reshard << "\n" << finished.out << finished.err;
    EXPECT_NE(finished.out.find("verdict: all 12 layouts hold"), std::string::npos) << finished.out;
  }
}

// The debug model's own shape with fewer layers; heads in groups with sizes that nothing divides; tied weights.
INSTANTIATE_TEST_SUITE_P(
    All, VerifySharding,
    testing::Combine(
        testing::Values(Shape{"debugmodel",
                              {"--model.args.dim=256", "--model.args.n_heads=16", "--model.args.n_kv_heads=16",
                               "--model.args.multiple_of=256"}},
                        Shape{"odd_sizes",
                              {"--model.args.dim=42", "--model.args.n_heads=3", "--model.args.n_kv_heads=1",
                               "--model.args.multiple_of=7", "--model.args.vocab_size=331", "--model.args.n_layers=3"}},
                        Shape{"tied", {"--model.args.vocab_size=323", "--model.args.enable_weight_tying"}}),
        testing::Values("100", "0.3")),
    [](const auto& info) {
      return std::get<0>(info.param).name + (std::get<1>(info.param) == "100" ? "" : "_clipped");
    });

}  // namespace
}  // namespace titan
