// What sharing attention costs: memory of a rank, work of a rank, and time beside communication.
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/distributed/context/counted_memory.h"
#include "tests/support/delayed_backend.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/parallel/context/ring_attention.h"

namespace titan::parallel {
namespace {

using test::random;
using World = std::shared_ptr<distributed::World>;

// --- memory ---

// Bytes at once, beyond the rank's own query, key, value and gradient, of a forward and backward on 4 ranks.
int64_t peak_bytes(const RingOptions& options, int64_t local_len, int64_t num_ranks) {
  std::vector<int64_t> peaks(num_ranks);
  test::run_ranks(num_ranks, "shm", [&](const World& world) {
    const Ring ring(world->group(), options);
    std::vector<at::Tensor> leaves;
    for (uint64_t i = 0; i < 3; ++i) leaves.push_back(random({1, local_len, 8, 32}, i).set_requires_grad(true));
    const at::Tensor grad_out = random({1, local_len, 8, 32}, 4);
    const test::CountedMemory memory;
    ring_attention(leaves[0], leaves[1], leaves[2], {.is_causal = true}, ring).backward(grad_out);
    peaks[world->rank()] = memory.peak();
  });
  return *std::max_element(peaks.begin(), peaks.end());
}

// A rank's shards are query, key, value, result and the gradients of these four; a block that goes round is keys and
// values, in the backward with their gradients. Passed round, two blocks at most are there, however many ranks there
// are: at most 1.2 times the shards and these.
TEST(RingMemory, OfARankIsItsShardsAndTwoBlocks) {
  constexpr int64_t kLen = 1024, kTensor = kLen * 8 * 32 * 4;  // bytes of one tensor of a shard
  constexpr int64_t kGiven = 4 * kTensor, kShards = 8 * kTensor, kBlock = 4 * kTensor;
  const RingOptions passed_round{.rotation = KvRotation::kRing};
  for (const int64_t num_ranks : {2, 4, 6}) {
    EXPECT_LT(kGiven + peak_bytes(passed_round, kLen, num_ranks), 1.2 * (kShards + 2 * kBlock)) << num_ranks;
  }
  // The bound is one: gathered, all blocks are there.
  EXPECT_GT(kGiven + peak_bytes({}, kLen, 6), 1.2 * (kShards + 2 * kBlock));
}

// --- work ---

// Scores that each rank computes, by the calls of the kernel.
TEST(RingWork, IsTheSameOnAllRanks) {
  constexpr int64_t kRanks = 4, kLen = 16;
  thread_local int64_t* own_work = nullptr;
  std::vector<int64_t> work(kRanks);
  const auto count = [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
    const bool is_forward = std::string_view(function.name()) == "titan::attention";
    if (is_forward && own_work != nullptr) {
      const auto inputs = function.inputs();
      const int64_t rectangle = inputs[0].toTensor().size(1) * inputs[1].toTensor().size(1);
      const auto is_causal =
          std::find_if(inputs.begin(), inputs.end(), [](const auto& input) { return input.isBool(); });
      *own_work += is_causal->toBool() ? (rectangle + inputs[0].toTensor().size(1)) / 2 : rectangle;
    }
    return nullptr;
  };
  const auto handle = at::addGlobalCallback(at::RecordFunctionCallback(count).needsInputs(true));
  test::run_ranks(kRanks, "shm", [&](const World& world) {
    own_work = &work[world->rank()];
    const Ring ring(world->group(), {});
    const at::Tensor x = random({1, kLen, 1, 4}, 1);
    ring_attention(x, x, x, {.is_causal = true}, ring);
    own_work = nullptr;
  });
  at::removeCallback(handle);
  constexpr int64_t kSeq = kRanks * kLen;
  for (const int64_t pairs : work) EXPECT_EQ(pairs, kSeq * (kSeq + 1) / 2 / kRanks);
}

// --- time ---

// Every message takes 20 ms, every attention over one block 25 ms, its backward 50 ms. On 4 ranks the blocks of three
// others come, forward and backward, and three gradients go: one after another, nine times 20 ms a layer. Of the
// gradients the last one home can hide behind nothing, so layers are counted where there is something after it: two.
TEST(RingTime, ComputationHidesTheCommunication) {
  using std::chrono::milliseconds;
  static constexpr milliseconds kDelay(20), kForward(25), kBackward(50);
  constexpr int64_t kRanks = 4, kMessages = 9;
  const auto slow = [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
    const std::string_view name = function.name();
    if (name == "titan::attention") std::this_thread::sleep_for(kForward);
    if (name == "titan::attention_backward") std::this_thread::sleep_for(kBackward);
    return nullptr;
  };
  const auto handle = at::addGlobalCallback(at::RecordFunctionCallback(slow));
  const auto seconds_of_step = [&](KvRotation rotation, milliseconds delay) {
    double seconds = 0;
    const test::RanksOptions options{.make_backend = test::delayed(distributed::backend_factory("shm"), delay)};
    test::run_ranks(
        kRanks, "shm",
        [&](const World& world) {
          const Ring ring(world->group(), {.rotation = rotation});
          const at::Tensor x = random({1, 4, 1, 4}, 1).set_requires_grad(true);
          const auto start = std::chrono::steady_clock::now();
          ring_attention(x, x, x, {.is_causal = true}, ring).sum().backward();
          if (world->rank() == 0) {
            seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
          }
        },
        options);
    return seconds;
  };
  const double bound = 0.3 * kMessages * 0.020;
  for (const KvRotation rotation : {KvRotation::kAllGather, KvRotation::kRing}) {
    double without = seconds_of_step(rotation, milliseconds(0)), with = seconds_of_step(rotation, kDelay);
    EXPECT_GT(without, kRanks * 0.075);  // the attentions are slow
    // A busy machine only ever makes a step longer, so of several the shortest is the step's own time.
    for (int i = 0; i < 3 && with - without >= bound; ++i) {
      with = std::min(with, seconds_of_step(rotation, kDelay));
      without = std::min(without, seconds_of_step(rotation, milliseconds(0)));
    }
    EXPECT_LT(with - without, bound) << static_cast<int>(rotation);
  }
  at::removeCallback(handle);
}

}  // namespace
}  // namespace titan::parallel
