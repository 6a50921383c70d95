#include "titan/loss/vocabulary_parallel.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

#include "titan/distributed/collectives.h"
#include "titan/dtensor/dtensor.h"
#include "titan/loss/cross_entropy.h"

namespace titan::loss {
namespace {

using distributed::ReduceOp;

struct VocabularyParallelCrossEntropy : torch::autograd::Function<VocabularyParallelCrossEntropy> {
  // logits: [tokens, local vocabulary] fp32, the columns from `first` on.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& logits,
                            const at::Tensor& labels, int64_t first, distributed::ProcessGroup* group) {
    const int64_t num_columns = logits.size(1);
    // 1. The softmax, shifted by the largest logit of each row.
    const at::Tensor own_largest =
        num_columns > 0 ? at::amax(logits, 1)
                        : at::full({logits.size(0)}, -std::numeric_limits<float>::infinity(), logits.options());
    const at::Tensor largest = distributed::all_reduce(own_largest, ReduceOp::kMax, *group).wait();
    at::Tensor softmax = at::exp(logits - largest.unsqueeze(1));

    // 2. Its denominator, and each label's logit, which one rank has.
    const at::Tensor is_counted = labels != kIgnoreIndex;
    const at::Tensor is_here = is_counted & (labels >= first) & (labels < first + num_columns);
    const at::Tensor column = at::where(is_here, labels - first, at::zeros_like(labels));
    const at::Tensor own_target = num_columns > 0
                                      ? at::where(is_here, at::gather(logits, 1, column.unsqueeze(1)).squeeze(1), 0.0)
                                      : at::zeros_like(largest);
    const at::Tensor sums =
        distributed::all_reduce(at::stack({softmax.sum(1), own_target}), ReduceOp::kSum, *group).wait();
    const at::Tensor losses = at::where(is_counted, at::log(sums[0]) + largest - sums[1], 0.0);

    softmax.div_(sums[0].unsqueeze(1));
    context->save_for_backward({softmax, is_counted, is_here, column});
    return losses.sum();
  }

  // softmax - 1 at the label.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &is_counted = saved[1], &is_here = saved[2], &column = saved[3];
    at::Tensor gradient = saved[0] * is_counted.unsqueeze(1);
    if (gradient.size(1) > 0) gradient.scatter_add_(1, column.unsqueeze(1), -is_here.to(at::kFloat).unsqueeze(1));
    return {gradient.mul_(gradients[0]), {}, {}, {}};
  }
};

}  // namespace

at::Tensor vocabulary_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& labels) {
  const dtensor::Mesh mesh = dtensor::mesh_of(logits);
  TORCH_CHECK_VALUE(mesh.num_axes() == 1 && logits.dim() == 2,
                    "vocabulary_parallel_cross_entropy: expected logits [tokens, vocabulary] on one axis, got ",
                    dtensor::to_string(dtensor::spec_of(logits)));
  const at::Tensor spread = dtensor::redistribute(logits, {dtensor::shard(1)});
  const dtensor::Segments columns = dtensor::spec_of(spread).segments(1);
  return VocabularyParallelCrossEntropy::apply(dtensor::to_local(spread).to(at::kFloat), labels,
                                               columns.empty() ? 0 : columns.front().offset, &mesh.group(0));
}

}  // namespace titan::loss
