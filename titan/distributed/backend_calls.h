// The collectives as c10d backends have them, started as part of an operation under way. Tensors are contiguous, not
// empty, without gradients; data that only moves goes as bytes, since backends know few dtypes.
#pragma once

#include <ATen/core/Tensor.h>

#include "titan/distributed/collectives.h"
#include "titan/distributed/in_flight.h"

namespace titan::distributed {

// The memory of a contiguous tensor.
at::Tensor bytes_of(const at::Tensor& contiguous);

// output: group size times the input.
void start_all_gather(InFlight& operation, const at::Tensor& output, const at::Tensor& input, ProcessGroup& group);
// The average is left to Reduction: kAvg sums.
void start_reduce_scatter(InFlight& operation, const at::Tensor& output, const at::Tensor& input, ReduceOp op,
                          ProcessGroup& group);
void start_all_reduce(InFlight& operation, const at::Tensor& x, ReduceOp op, ProcessGroup& group);
void start_broadcast(InFlight& operation, const at::Tensor& x, int64_t source, ProcessGroup& group);
// parts: empty unless this rank is the source.
void start_scatter(InFlight& operation, const at::Tensor& output, const std::vector<at::Tensor>& parts, int64_t source,
                   ProcessGroup& group);
// Splits count rows of `row_bytes` bytes.
void start_all_to_all(InFlight& operation, const at::Tensor& output, const at::Tensor& input, int64_t row_bytes,
                      at::IntArrayRef output_splits, at::IntArrayRef input_splits, ProcessGroup& group);

}  // namespace titan::distributed
