// The coalesced collectives: tensors are packed into one message (reductions: one per dtype), and unpacked on
// arrival. On all backends alike, since what they do by themselves ranges from packing to one message per tensor.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <map>

#include "titan/distributed/backend_calls.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/in_flight.h"
#include "titan/distributed/reduction.h"

namespace titan::distributed {
namespace {

using Tensors = std::vector<at::Tensor>;

// Positions of the tensors of each dtype that have elements.
std::map<at::ScalarType, std::vector<size_t>> by_dtype(const Tensors& tensors) {
  std::map<at::ScalarType, std::vector<size_t>> positions;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].numel() > 0) positions[tensors[i].scalar_type()].push_back(i);
  }
  return positions;
}

// The bytes of all, one tensor after another.
at::Tensor pack(const Tensors& tensors) {
  Tensors pieces;
  for (const at::Tensor& tensor : tensors) pieces.push_back(bytes_of(tensor.detach().contiguous()));
  return at::cat(pieces);
}

PendingTensors pending(std::unique_ptr<InFlight> operation) { return PendingTensors(std::move(operation)); }

}  // namespace

PendingTensors all_reduce_coalesced_(Tensors tensors, ReduceOp op, ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  const auto positions = by_dtype(tensors);
  for (const auto& [dtype, unused] : positions) Reduction("all_reduce_coalesced", op, dtype, group.size());
  if (group.size() == 1 || positions.empty()) return PendingTensors(std::move(tensors));

  auto operation = std::make_unique<InFlight>("all_reduce_coalesced", tensors.front(), group);
  Tensors buffers;
  for (const auto& [dtype, members] : positions) {
    const Reduction reduction("all_reduce_coalesced", op, dtype, group.size());
    Tensors pieces;
    for (const size_t i : members) pieces.push_back(tensors[i].detach().reshape({-1}));
    buffers.push_back(reduction.encode(at::cat(pieces)));
    start_all_reduce(*operation, buffers.back(), op, group);
  }
  operation->on_arrival = [tensors = std::move(tensors), positions, buffers, op, size = group.size()] {
    auto buffer = buffers.begin();
    for (const auto& [dtype, members] : positions) {
      const at::Tensor reduced = Reduction("all_reduce_coalesced", op, dtype, size).decode(*buffer++);
      int64_t begin = 0;
      for (const size_t i : members) {
        tensors[i].copy_(reduced.narrow(0, begin, tensors[i].numel()).view(tensors[i].sizes()));
        begin += tensors[i].numel();
      }
    }
    return tensors;
  };
  return pending(std::move(operation));
}

PendingTensors broadcast_coalesced_(Tensors tensors, int64_t source, ProcessGroup& group) {
  TORCH_CHECK_VALUE(source >= 0 && source < group.size(), "broadcast_coalesced: expected a source from 0 to ",
                    group.size() - 1, " (an index in the group), got ", source);
  const at::NoGradGuard no_grad;
  if (group.size() == 1 || tensors.empty()) return PendingTensors(std::move(tensors));
  const at::Tensor buffer = pack(tensors);

  auto operation = std::make_unique<InFlight>("broadcast_coalesced", tensors.front(), group);
  if (buffer.numel() > 0) start_broadcast(*operation, buffer, source, group);
  operation->on_arrival = [tensors = std::move(tensors), buffer] {
    int64_t begin = 0;
    for (const at::Tensor& tensor : tensors) {
      const at::Tensor received = at::empty(tensor.sizes(), tensor.options());
      const at::Tensor bytes = bytes_of(received);
      bytes.copy_(buffer.narrow(0, begin, bytes.numel()));
      begin += bytes.numel();
      tensor.copy_(received);
    }
    return tensors;
  };
  return pending(std::move(operation));
}

PendingTensors all_gather_coalesced(const Tensors& tensors, ProcessGroup& group) {
  for (const at::Tensor& tensor : tensors) {
    TORCH_CHECK_VALUE(tensor.dim() > 0, "all_gather_coalesced: expected tensors with dimensions, got a single number");
  }
  const at::NoGradGuard no_grad;
  if (group.size() == 1 || tensors.empty()) return PendingTensors(tensors);
  const at::Tensor own = pack(tensors);
  const at::Tensor parts = at::empty({group.size(), own.numel()}, own.options());

  auto operation = std::make_unique<InFlight>("all_gather_coalesced", tensors.front(), group);
  if (own.numel() > 0) start_all_gather(*operation, parts, own, group);
  operation->on_arrival = [tensors, parts] {
    Tensors results;
    int64_t begin = 0;
    for (const at::Tensor& tensor : tensors) {
      std::vector<int64_t> sizes = tensor.sizes().vec();
      sizes.front() *= parts.size(0);
      results.push_back(at::empty(sizes, tensor.options()));
      const auto num_bytes = tensor.numel() * static_cast<int64_t>(tensor.element_size());
      bytes_of(results.back()).view({parts.size(0), num_bytes}).copy_(parts.narrow(1, begin, num_bytes));
      begin += num_bytes;
    }
    return results;
  };
  return pending(std::move(operation));
}

PendingTensors reduce_scatter_coalesced(const Tensors& tensors, ReduceOp op, ProcessGroup& group) {
  for (const at::Tensor& tensor : tensors) {
    TORCH_CHECK_VALUE(tensor.dim() > 0 && tensor.size(0) % group.size() == 0,
                      "reduce_scatter_coalesced: expected a first dimension that is a multiple of ", group.size(),
                      ", got ", tensor.sizes());
  }
  const at::NoGradGuard no_grad;
  const auto positions = by_dtype(tensors);
  for (const auto& [dtype, unused] : positions) Reduction("reduce_scatter_coalesced", op, dtype, group.size());
  if (group.size() == 1 || tensors.empty()) return PendingTensors(tensors);

  auto operation = std::make_unique<InFlight>("reduce_scatter_coalesced", tensors.front(), group);
  Tensors buffers;
  for (const auto& [dtype, members] : positions) {
    const Reduction reduction("reduce_scatter_coalesced", op, dtype, group.size());
    Tensors columns;
    for (const size_t i : members) columns.push_back(tensors[i].detach().reshape({group.size(), -1}));
    const at::Tensor parts = reduction.encode(at::cat(columns, 1));
    buffers.push_back(at::empty(parts.sizes().slice(1), parts.options()));
    start_reduce_scatter(*operation, buffers.back(), parts, op, group);
  }
  operation->on_arrival = [tensors, positions, buffers, op, size = group.size()] {
    Tensors results;
    for (const at::Tensor& tensor : tensors) {
      std::vector<int64_t> sizes = tensor.sizes().vec();
      sizes.front() /= size;
      results.push_back(at::empty(sizes, tensor.options()));
    }
    auto buffer = buffers.begin();
    for (const auto& [dtype, members] : positions) {
      const at::Tensor reduced = Reduction("reduce_scatter_coalesced", op, dtype, size).decode(*buffer++);
      int64_t begin = 0;
      for (const size_t i : members) {
        results[i].copy_(reduced.narrow(0, begin, results[i].numel()).view(results[i].sizes()));
        begin += results[i].numel();
      }
    }
    return results;
  };
  return pending(std::move(operation));
}

}  // namespace titan::distributed
