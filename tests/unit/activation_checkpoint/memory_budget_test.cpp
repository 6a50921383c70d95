// What is kept within a budget: the best choice, never more than the bound, and the same bits.
#include "titan/activation_checkpoint/memory_budget.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/activation_checkpoint/block.h"
#include "titan/activation_checkpoint/apply.h"
#include "titan/activation_checkpoint/checkpoint.h"
#include "titan/activation_checkpoint/device_memory.h"
#include "titan/activation_checkpoint/kept_results.h"
#include "titan/activation_checkpoint/pareto_chart.h"

namespace titan::activation_checkpoint {
namespace {

// The best of all 2^n choices.
double least_seconds(const std::vector<Candidate>& candidates, int64_t max_bytes) {
  double least = std::numeric_limits<double>::infinity();
  for (size_t choice = 0; choice < size_t(1) << candidates.size(); ++choice) {
    double seconds = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if ((choice >> i & 1) != 0) {
        bytes += candidates[i].bytes;
      } else {
        seconds += candidates[i].seconds;
      }
    }
    if (bytes <= max_bytes) least = std::min(least, seconds);
  }
  return least;
}

TEST(KeepChoice, IsTheBestOfAll) {
  std::mt19937 generator(3);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<Candidate> candidates(10);
    int64_t total = 0;
    for (Candidate& candidate : candidates) {
      candidate = {.seconds = static_cast<double>(generator() % 100), .bytes = static_cast<int64_t>(generator() % 50)};
      total += candidate.bytes;
    }
    for (const int64_t bound : {int64_t(0), total / 3, total / 2, total}) {
      const KeepChoice choice = best_to_keep(candidates, bound);
      EXPECT_LE(choice.bytes, bound);
      EXPECT_DOUBLE_EQ(choice.seconds, least_seconds(candidates, bound));
    }
  }
}

TEST(KeepChoice, OfSizesThatAreRoundedStaysWithinTheBound) {
  std::vector<Candidate> candidates;
  for (int64_t i = 0; i < 40; ++i) candidates.push_back({.seconds = 1.0 + i % 3, .bytes = 1'000'003 + 17 * i});
  for (const int64_t bound : {999'999L, 10'000'000L, 20'000'100L}) {
    const KeepChoice choice = best_to_keep(candidates, bound);
    EXPECT_LE(choice.bytes, bound);
    EXPECT_GE(choice.bytes, bound / 1'000'700 * 1'000'003 - 1'100'000);
  }
  EXPECT_EQ(best_to_keep(candidates, -5).bytes, 0);
  EXPECT_TRUE(best_to_keep({}, 100).keeps.empty());
}

struct Training {
  std::vector<std::vector<at::Tensor>> gradients;  // by step
  std::vector<std::shared_ptr<const CheckpointCounts>> counts;
  BlockProfile profile;
  KeepChoice choice;
  int num_choices = 0;
};

// Three steps of two micro-batches.
Training run(double share_of_plain) {
  test::Blocks blocks(3);
  Training result;
  auto budget = std::make_shared<MemoryBudget>(
      [=](const BlockProfile& profile) {
        return static_cast<int64_t>(share_of_plain * static_cast<double>(profile.plain_bytes));
      },
      [](std::vector<double>&) {},
      [&](const BlockProfile& profile, const KeepChoice& choice) {
        result.profile = profile;
        result.choice = choice;
        ++result.num_choices;
      });
  for (int64_t i = 0; i < 3; ++i) {
    result.counts.push_back(checkpoint(*(*blocks.layers)[i], {.make_policy = [budget] { return budget->make_policy(); },
                                                              .applies = [budget] { return budget->applies(); }}));
  }
  const at::Tensor freqs_cis = nn::precompute_freqs_cis(8, 5, 10000, {}, at::kCPU);
  for (int step = 0; step < 3; ++step) {
    for (const bool last : {false, true}) {
      budget->before_microbatch(last);
      EXPECT_EQ(result.num_choices, step == 0 ? 0 : 1);
      blocks(test::random({2, 5, 24}, 7 + step), freqs_cis).square().sum().backward();
    }
    auto& gradients = result.gradients.emplace_back();
    for (nn::Parameter* parameter : blocks.parameters()) gradients.push_back(parameter->get().grad().clone());
  }
  return result;
}

TEST(MemoryBudget, KeepsWhatItMayAndGivesTheSameBits) {
  const Training everything = run(1), half = run(0.5), nothing = run(0);
  ASSERT_GT(everything.profile.plain_bytes, 0);
  for (const Training* some : {&half, &nothing}) {
    ASSERT_EQ(some->gradients.size(), everything.gradients.size());
    for (size_t step = 0; step < some->gradients.size(); ++step) {
      for (size_t i = 0; i < some->gradients[step].size(); ++i) {
        EXPECT_TRUE(at::equal(some->gradients[step][i], everything.gradients[step][i])) << step << " " << i;
      }
    }
  }
  EXPECT_EQ(nothing.choice.bytes, 0);
  EXPECT_LE(half.choice.bytes, half.profile.plain_bytes / 2);
  EXPECT_GT(half.choice.bytes, 0);
  EXPECT_LT(half.choice.seconds, nothing.choice.seconds);
  for (int i = 0; i < 3; ++i) {
    // The first step computes everything again; what may be kept whole is no longer checkpointed.
    EXPECT_EQ(everything.counts[i]->forwards, 2);
    EXPECT_EQ(half.counts[i]->forwards, 6);
    EXPECT_EQ(half.counts[i]->kept_bytes, half.choice.bytes);
    EXPECT_EQ(nothing.counts[i]->kept_bytes, 0);
  }
}

// What the plain forward keeps, of 10 tokens: inputs of products and norms, q, k, v, attention's output and one number
// a head, both halves of the SwiGLU. Inputs of the block and weights are not among it.
TEST(MemoryBudget, CountsWhatThePlainForwardKeeps) {
  const Training measured = run(0);
  const int64_t floats = measured.profile.plain_bytes / 4 / 10;
  EXPECT_GE(floats, /*norms*/ 24 + 24 + /*q k v*/ 24 + 8 + 8 + /*attention*/ 24 + 3 + /*h*/ 24 + /*SwiGLU*/ 3 * 40);
  EXPECT_LE(floats, 2 * (24 + 24 + 24 + 8 + 8 + 24 + 3 + 24 + 3 * 40));
  EXPECT_EQ(measured.profile.operators.size(), measured.profile.candidates.size());
}

TEST(MemoryBudget, BlocksThatDifferAreNamed) {
  test::Blocks blocks(2);
  (*blocks.layers)[1]->dropout = 0.1;
  auto budget = std::make_shared<MemoryBudget>([](const BlockProfile&) { return 0; }, [](std::vector<double>&) {},
                                               [](const BlockProfile&, const KeepChoice&) {});
  for (int64_t i = 0; i < 2; ++i) {
    checkpoint(*(*blocks.layers)[i], {.make_policy = [budget] { return budget->make_policy(); }});
  }
  EXPECT_THROW(blocks(test::random({2, 5, 24}, 7), nn::precompute_freqs_cis(8, 5, 10000, {}, at::kCPU)), c10::Error);
}

TEST(MemoryBudget, RanksAgree) {
  const BlockProfile* seen = nullptr;
  BlockProfile profile;
  test::Blocks blocks(1);
  int num_calls = 0;
  MemoryBudget budget([](const BlockProfile&) { return 100; },
                      [&](std::vector<double>& values) {
                        ++num_calls;
                        for (double& value : values) value = num_calls == 1 ? 2.0 : value;
                      },
                      [&](const BlockProfile& agreed, const KeepChoice&) {
                        profile = agreed;
                        seen = &profile;
                      });
  checkpoint(*(*blocks.layers)[0], {.make_policy = [&] { return budget.make_policy(); }});
  budget.before_microbatch(true);
  blocks(test::random({2, 5, 24}, 7), nn::precompute_freqs_cis(8, 5, 10000, {}, at::kCPU)).sum().backward();
  budget.before_microbatch(true);
  ASSERT_NE(seen, nullptr);
  for (const Candidate& candidate : profile.candidates) EXPECT_EQ(candidate.seconds, 2.0);
}

TEST(ParetoChart, FallsFromNothingKeptToEverything) {
  const BlockProfile profile{.operators = {"a", "b"},
                             .candidates = {{.seconds = 1e-3, .bytes = 1 << 20}, {.seconds = 2e-3, .bytes = 1 << 20}},
                             .plain_bytes = 2 << 20};
  const std::string chart = pareto_chart(profile, 0.5);
  EXPECT_TRUE(chart.starts_with("<svg ") && chart.ends_with("</svg>\n"));
  EXPECT_NE(chart.find("70.0,40.0 "), std::string::npos) << "nothing kept, 3 ms: " << chart;
  EXPECT_NE(chart.find("620.0,340.0 "), std::string::npos) << "everything kept, 0 ms: " << chart;
  EXPECT_NE(chart.find("r=\"6\" fill=\"#d62728\"><title>budget 0.50"), std::string::npos);
}

TEST(DeviceMemory, OfTheHostIsSharedAmongItsRanks) {
  const int64_t alone = bytes_beyond_peak(c10::kCPU, 1), of_four = bytes_beyond_peak(c10::kCPU, 4);
  EXPECT_GT(alone, 0);
  EXPECT_LT(of_four, alone / 2);
}

}  // namespace
}  // namespace titan::activation_checkpoint
