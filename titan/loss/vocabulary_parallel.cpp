#include "titan/loss/vocabulary_parallel.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/stack.h>

#include "titan/distributed/collectives.h"
#include "titan/dtensor/dtensor.h"

namespace titan::loss {

using distributed::ReduceOp;

VocabularyShard vocabulary_shard(const at::Tensor& logits) {
  const dtensor::Mesh mesh = dtensor::mesh_of(logits);
  TORCH_CHECK_VALUE(mesh.num_axes() == 1 && logits.dim() == 2,
                    "vocabulary_shard: expected logits [tokens, vocabulary] on one axis, got ",
                    dtensor::to_string(dtensor::spec_of(logits)));
  const at::Tensor spread = dtensor::redistribute(logits, {dtensor::shard(1)});
  const dtensor::Segments columns = dtensor::spec_of(spread).segments(1);
  return {.logits = dtensor::to_local(spread),
          .columns = {.first = columns.empty() ? 0 : columns.front().offset, .vocabulary = logits.size(1)},
          .group = &mesh.group(0)};
}

kernels::LogitRows join_rows(const kernels::LogitRows& own, distributed::ProcessGroup& group) {
  const at::Tensor largest = distributed::all_reduce(own.largest, ReduceOp::kMax, group).wait();
  const at::Tensor own_sum = own.sum * at::exp(own.largest - largest);
  const at::Tensor sums = distributed::all_reduce(at::stack({own_sum, own.label_logit}), ReduceOp::kSum, group).wait();
  return {.largest = largest, .sum = sums[0], .label_logit = sums[1]};
}

}  // namespace titan::loss
