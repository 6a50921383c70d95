#include "titan/distributed/backend_calls.h"

#include <torch/csrc/distributed/c10d/Backend.hpp>

namespace titan::distributed {
namespace {

c10d::ReduceOp backend_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMax:
      return c10d::ReduceOp::MAX;
    case ReduceOp::kMin:
      return c10d::ReduceOp::MIN;
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
      break;
  }
  return c10d::ReduceOp::SUM;
}

}  // namespace

at::Tensor bytes_of(const at::Tensor& contiguous) { return contiguous.view({-1}).view(at::kByte); }

void start_all_gather(InFlight& operation, const at::Tensor& output, const at::Tensor& input, ProcessGroup& group) {
  at::Tensor to = bytes_of(output), from = bytes_of(input);
  operation.start({"_all_gather_base", input, output},
                  [&] { return group.backend(from.device())->_allgather_base(to, from); });
}

void start_reduce_scatter(InFlight& operation, const at::Tensor& output, const at::Tensor& input, ReduceOp op,
                          ProcessGroup& group) {
  c10d::ReduceScatterOptions options;
  options.reduceOp = backend_op(op);
  at::Tensor to = output.view({-1}), from = input.view({-1});
  operation.start({"_reduce_scatter_base", input, output},
                  [&] { return group.backend(from.device())->_reduce_scatter_base(to, from, options); });
}

void start_all_reduce(InFlight& operation, const at::Tensor& x, ReduceOp op, ProcessGroup& group) {
  c10d::AllreduceOptions options;
  options.reduceOp = backend_op(op);
  std::vector<at::Tensor> tensors{x.view({-1})};
  operation.start({"all_reduce", x, x}, [&] { return group.backend(x.device())->allreduce(tensors, options); });
}

void start_broadcast(InFlight& operation, const at::Tensor& x, int64_t source, ProcessGroup& group) {
  c10d::BroadcastOptions options;
  options.rootRank = source;
  std::vector<at::Tensor> tensors{bytes_of(x)};
  operation.start({"broadcast", x, x}, [&] { return group.backend(x.device())->broadcast(tensors, options); });
}

void start_scatter(InFlight& operation, const at::Tensor& output, const std::vector<at::Tensor>& parts, int64_t source,
                   ProcessGroup& group) {
  c10d::ScatterOptions options;
  options.rootRank = source;
  std::vector<at::Tensor> outputs{bytes_of(output)};
  std::vector<std::vector<at::Tensor>> inputs;
  if (!parts.empty()) inputs.emplace_back();
  for (const at::Tensor& part : parts) inputs.front().push_back(bytes_of(part));
  operation.start({"scatter", at::Tensor(), output},
                  [&] { return group.backend(output.device())->scatter(outputs, inputs, options); });
}

void start_all_to_all(InFlight& operation, const at::Tensor& output, const at::Tensor& input, int64_t row_bytes,
                      at::IntArrayRef output_splits, at::IntArrayRef input_splits, ProcessGroup& group) {
  at::Tensor to = bytes_of(output).view({-1, row_bytes}), from = bytes_of(input).view({-1, row_bytes});
  std::vector<int64_t> output_rows = output_splits.vec(), input_rows = input_splits.vec();
  operation.start({"all_to_all", input, output},
                  [&] { return group.backend(from.device())->alltoall_base(to, from, output_rows, input_rows); });
}

}  // namespace titan::distributed
