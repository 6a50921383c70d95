// titan verify holds where all is well, and finds and names planted errors (verify_with_fault.cpp).
#include <gtest/gtest.h>

#include "tests/support/run_program.h"
#include "tests/support/tiny_job.h"

namespace titan {
namespace {

test::Finished verify(const std::string& program, const std::string& layouts, const std::string& fault,
                      const std::vector<std::string>& more = {}) {
  const test::OutputFolder folder;
  std::vector<std::string> argv =
      test::tiny_job(program, folder.path(), {"--training.local_batch_size=4", "--layouts", layouts, "--steps", "3"});
  argv[1] = "verify";
  argv.insert(argv.end(), more.begin(), more.end());
  test::RunOptions options{.timeout_seconds = 120};
  if (!fault.empty()) options.environment = {{"TITAN_TEST_FAULT", fault}};
  return test::run_program(argv, options);
}

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of('\n');
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - begin);
}

TEST(Verify, DataParallelLayoutsHold) {
  const test::Finished finished =
      verify(TITAN_BINARY, "accum=1; dp_replicate=2; dp_replicate=4; dp_replicate=2, accum=2; accum=4", "");
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_EQ(last_line(finished.out).rfind("verdict: all 5 layouts hold", 0), 0u) << finished.out;
}

// dim = 24 and 320 rows over 3 ranks: uneven. Clipping is active (max_norm is 1).
TEST(Verify, ShardedLayoutsHold) {
  const test::Finished finished =
      verify(TITAN_BINARY, "dp_shard=2; dp_shard=3; dp_replicate=2, dp_shard=2; dp_shard=3, accum=2", "",
             {"--training.global_batch_size=12", "--training.local_batch_size=12"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_EQ(last_line(finished.out).rfind("verdict: all 4 layouts hold", 0), 0u) << finished.out;
}

// 6 heads in 2 groups, whole sequences and parts of them, whole logits and parts, and with data parallelism of each
// kind.
TEST(Verify, TensorParallelLayoutsHold) {
  const test::Finished finished = verify(TITAN_BINARY,
                                         "tp=2; tp=2, sp=off; tp=2, loss_parallel=off; tp=2, accum=2; dp_shard=2, "
                                         "tp=2; dp_replicate=2, tp=2; tp=2, dtype=bf16; tp=2, async_tp=on; "
                                         "dp_shard=2, tp=2, async_tp=on",
                                         "", {"--model.args.n_heads=6", "--model.args.n_kv_heads=2"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_EQ(last_line(finished.out).rfind("verdict: all 9 layouts hold", 0), 0u) << finished.out;
}

// 323 rows of a tied embedding and 67 hidden features over 3 ranks, then over 2 x 3: parts of unequal size.
TEST(Verify, TensorParallelTiedModelsOfOddSizesHold) {
  const test::Finished finished =
      verify(TITAN_BINARY, "tp=3, async_tp=on; dp_shard=2, tp=3", "",
             {"--model.args.n_heads=6", "--model.args.n_kv_heads=3", "--model.args.multiple_of=1",
              "--model.args.ffn_dim_multiplier=1.05", "--model.args.vocab_size=323", "--model.args.enable_weight_tying",
              "--training.max_norm=100"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
}

// Rows of 48 tokens in 4 or 6 pieces; weights sharded over the ranks that share a row, and over others.
TEST(Verify, ContextParallelLayoutsHold) {
  const test::Finished finished =
      verify(TITAN_BINARY,
             "cp=2; cp=3, rotate=alltoall; cp=2, balance=off, accum=2; dp_shard=2, cp=2, ac=op; cp=2, tp=2, dtype=bf16",
             "", {"--model.args.n_heads=6", "--model.args.n_kv_heads=2"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_EQ(last_line(finished.out).rfind("verdict: all 5 layouts hold", 0), 0u) << finished.out;
}

// Rows of several documents.
TEST(Verify, ContextParallelLayoutsHoldWithinDocuments) {
  const test::Finished finished = verify(
      TITAN_BINARY, "cp=2, ac=full; cp=4, rotate=alltoall; dp_replicate=2, cp=2, balance=off", "",
      {"--model.args.attn_mask_type=block_causal",
       "--training.dataset_path=" + (test::tiny_golden().parent_path() / "llama3_documents" / "corpus").string()});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_EQ(last_line(finished.out).rfind("verdict: all 3 layouts hold", 0), 0u) << finished.out;
}

// Two of three blocks, or single operators, or what a budget chose after the first step, are computed again.
TEST(Verify, ActivationCheckpointingHolds) {
  const test::Finished finished = verify(
      TITAN_BINARY,
      "ac=full; ac=1, accum=2, dtype=bf16; dp_shard=2, ac=op; dp_shard=2, ac=memory_budget, accum=2; "
      "tp=2, ac=op; dp_replicate=2, ac=2; ac=auto",
      "",
      {"--model.args.n_layers=3", "--model.args.n_heads=6", "--model.args.n_kv_heads=2", "--training.loss_chunks=2"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  EXPECT_EQ(last_line(finished.out).rfind("verdict: all 7 layouts hold", 0), 0u) << finished.out;
}

// Embedding and output are one parameter, and everything is gathered again for the backward.
TEST(Verify, ShardedTiedModelsHold) {
  const test::Finished finished = verify(TITAN_BINARY, "dp_shard=4", "",
                                         {"--model.args.enable_weight_tying", "--training.max_norm=100",
                                          "--parallelism.fsdp_reshard_after_forward=always"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
}

TEST(Verify, Bf16LayoutsAreAsNearToFp32AsOneDevice) {
  const test::Finished finished =
      verify(TITAN_BINARY, "dp_replicate=2, dtype=bf16; dp_shard=2, dtype=bf16; accum=2, dtype=bf16", "");
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
}

// Tied weights, clipping inactive, an odd number of replicas.
TEST(Verify, ThreeReplicasOfATiedModelHold) {
  const test::Finished finished = verify(TITAN_BINARY, "dp_replicate=3; dp_replicate=3, accum=2", "",
                                         {"--training.global_batch_size=6", "--training.local_batch_size=6",
                                          "--training.max_norm=100", "--model.args.enable_weight_tying"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
}

TEST(Verify, MistakesAreFoundBeforeAnythingStarts) {
  const test::Finished finished = verify(TITAN_BINARY, "dp_replicate=3; pp=2; ddp=2", "");
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(finished.out, "");
  EXPECT_NE(finished.err.find("'ddp': expected one of"), std::string::npos) << finished.err;
}

struct Planted {
  std::string fault;
  std::string parts_first;  // how the verdict's account of what parts first begins
};

class VerifyFinds : public testing::TestWithParam<Planted> {};

TEST_P(VerifyFinds, AndNamesIt) {
  for (const std::string layout : {"dp_replicate=2", "dp_shard=2"}) {
    const test::Finished finished = verify(TITAN_VERIFY_WITH_FAULT, layout, GetParam().fault);
    EXPECT_EQ(finished.exit_code, 1) << finished.out << finished.err;
    EXPECT_NE(last_line(finished.out).find(layout + " (" + GetParam().parts_first), std::string::npos)
        << finished.out << finished.err;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, VerifyFinds,
    testing::Values(Planted{"dropped reduction", "gradients layers.0.attention.wk.weight, step 1 on rank 0"},
                    Planted{"double division", "gradients layers.0.attention.wk.weight, step 1 on rank 0"},
                    Planted{"left out of clipping", "parameters layers.0.ffn_norm.weight, step "},
                    Planted{"sample read twice", "loss step 2"},
                    Planted{"another seed", "initial parameters layers.0.attention.wk.weight on rank "}),
    [](const auto& info) {
      std::string name;
      for (const char c : info.param.fault) name += c == ' ' ? '_' : c;
      return name;
    });

TEST(VerifyFindsNothing, WhereNothingIsPlanted) {
  EXPECT_EQ(verify(TITAN_VERIFY_WITH_FAULT, "dp_replicate=2", "").exit_code, 0);
}

}  // namespace
}  // namespace titan
