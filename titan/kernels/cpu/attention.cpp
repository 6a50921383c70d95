#include "titan/kernels/cpu/attention.h"

#include "titan/kernels/cpu/attention_backward.h"
#include "titan/kernels/cpu/attention_forward.h"
#if defined(CPU_CAPABILITY_AMX)
#include "titan/kernels/cpu/amx_tiles.h"
#endif

namespace titan::kernels::cpu {
namespace {

#if defined(CPU_CAPABILITY_AMX)
template <class F>
auto with_tiles(const AttentionProblem&, F&& f) {
  return f(AmxTiles(), c10::BFloat16());
}
#else
template <class F>
auto with_tiles(const AttentionProblem& problem, F&& f) {
  if (problem.dtype == at::kFloat) return f(VectorTiles(), float());
  if (problem.dtype == at::kBFloat16) return f(VectorTiles(), c10::BFloat16());
  return f(VectorTiles(), c10::Half());
}
#endif

int64_t num_forward_tasks(const AttentionProblem& problem) { return ForwardTasks(problem).size(problem); }
int64_t num_backward_tasks(const AttentionProblem& problem) { return problem.batch * problem.kv_heads; }

int64_t forward_memory(const AttentionProblem& problem) {
  return with_tiles(problem, [&](auto tiles, auto) {
    Arena arena(nullptr);
    const ForwardMemory<decltype(tiles)> counted(problem, arena);
    return arena.size();
  });
}

int64_t backward_memory(const AttentionProblem& problem) {
  return with_tiles(problem, [&](auto tiles, auto) {
    Arena arena(nullptr);
    const BackwardMemory<decltype(tiles)> counted(problem, arena);
    return arena.size();
  });
}

void forward(const AttentionProblem& problem, const AttentionOutputs& outputs, int64_t task, std::byte* memory) {
  with_tiles(problem, [&](auto tiles, auto element) {
    forward_task<decltype(tiles), decltype(element)>(problem, outputs, task, memory);
  });
}

void backward(const AttentionProblem& problem, const AttentionGradients& gradients, int64_t task, std::byte* memory) {
  with_tiles(problem, [&](auto tiles, auto element) {
    backward_task<decltype(tiles), decltype(element)>(problem, gradients, task, memory);
  });
}

}  // namespace

#if defined(CPU_CAPABILITY_AMX)
AttentionLoops amx_attention_loops() {
#else
template <>
AttentionLoops loops_for<AttentionLoops, kCompiledFor>() {
#endif
  return {.num_forward_tasks = num_forward_tasks,
          .forward_memory = forward_memory,
          .forward = forward,
          .num_backward_tasks = num_backward_tasks,
          .backward_memory = backward_memory,
          .backward = backward};
}

}  // namespace titan::kernels::cpu
