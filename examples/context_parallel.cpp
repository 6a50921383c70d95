// Context parallelism on a model of one's own: each rank works on its tokens of a sequence, and only attention looks at
// those of the others. Ranks are processes: `for r in 0 1; do RANK=$r WORLD_SIZE=2 MASTER_ADDR=127.0.0.1
// MASTER_PORT=29515 build/examples/example_context_parallel & done; wait`. See docs/context_parallel.md.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randint.h>
#include <fmt/format.h>

#include "titan/distributed/collectives.h"
#include "titan/distributed/rank_info.h"
#include "titan/dtensor/dtensor.h"
#include "titan/nn/attention.h"
#include "titan/nn/embedding.h"
#include "titan/nn/init.h"
#include "titan/optim/adam.h"
#include "titan/parallel/context/context_parallel.h"
#include "titan/parallel/fsdp/fully_shard.h"

using namespace titan;  // NOLINT(google-build-using-namespace): a program of one file

namespace {

constexpr int64_t kVocabulary = 16, kDim = 32, kPiece = 3, kSteps = 300;

// It knows no rank. Tokens stand at `positions`: a rank has some of a sequence.
struct Model : nn::Callable<Model> {
  nn::Child<nn::Embedding> tokens{this, "tokens", std::make_shared<nn::Embedding>(kVocabulary, kDim, at::kFloat)};
  nn::Child<nn::Attention> attention{
      this, "attention",
      std::make_shared<nn::Attention>(nn::AttentionSizes{.dim = kDim, .n_heads = 2, .n_kv_heads = 1, .head_dim = 16},
                                      at::kFloat)};
  nn::Child<nn::Linear> output{this, "output", std::make_shared<nn::Linear>(kDim, kVocabulary, at::kFloat)};

  at::Tensor forward(const at::Tensor& x, const at::Tensor& positions) {
    const at::Tensor table = nn::precompute_freqs_cis(16, 1024, 10000.0, {.scaling_factor = 1.0}, at::kCPU);
    const at::Tensor h = tokens(x);
    return output(h + attention(h, table.index({positions})));
  }
};

}  // namespace

int main() {
  auto world =
      std::make_shared<distributed::World>(distributed::rank_info_from_environment(), distributed::WorldOptions{});
  const distributed::DeviceMesh mesh(world, {{"cp", world->size()}});

  // 1. The ranks that share sequences, and in what order; attention attends over them.
  Model model;
  const auto ring = std::make_shared<parallel::Ring>(mesh.group("cp"), parallel::RingOptions{});
  parallel::share_attention({model.attention.module()}, ring);
  // 2. The same ranks shard the weights, which sums their gradients.
  parallel::FullyShard fsdp({{.modules = {model.tokens.module()}},
                             {.modules = {model.attention.module()}},
                             {.modules = {model.output.module()}}},
                            mesh, {.shard_axis = "cp"});
  model.to_empty(at::kCPU);
  for (nn::Parameter* parameter : model.parameters()) nn::Initializer(/*seed=*/0).normal(*parameter, 0.0, 0.3);
  optim::Adam optimizer(model.parameters(), {.weight_decay = 0});

  // 3. Learn to name the token before the one that is there, which may be another rank's. All ranks draw the same
  // sequence, and each takes its tokens of it.
  const int64_t seq_len = ring->layout().num_pieces() * kPiece;
  const at::Tensor own = ring->own_tokens(seq_len);
  for (int64_t step = 1; step <= kSteps; ++step) {
    const at::Tensor sequence = at::randint(kVocabulary, {8, seq_len + 1}, at::kLong);
    const at::Tensor x = sequence.narrow(1, 1, seq_len).index_select(1, own),
                     before = sequence.narrow(1, 0, seq_len).index_select(1, own);
    optimizer.zero_grad();
    fsdp.before_microbatch(/*last=*/true);
    const at::Tensor rows = model(x, own).log_softmax(-1);
    const at::Tensor loss = -rows.gather(2, before.unsqueeze(-1)).sum() / static_cast<double>(8 * seq_len);
    loss.backward();
    fsdp.finish();
    optimizer.step(/*lr=*/1e-2);
    const at::Tensor total = distributed::all_reduce(loss.detach(), distributed::ReduceOp::kSum, *mesh.group()).wait();
    if (world->rank() == 0 && step % 100 == 0) fmt::print("step {} loss {:.5f}\n", step, total.item<float>());
  }
  fmt::print("rank {} has {} of {} tokens, and {} of {} numbers of attention.wq.weight\n", world->rank(), own.numel(),
             seq_len, dtensor::local_of(model.attention->wq->weight.get()).numel(),
             model.attention->wq->weight.get().numel());
  return 0;
}
