#include "titan/distributed/collectives.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/WrapDimMinimal.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "titan/distributed/backend_calls.h"
#include "titan/distributed/in_flight.h"
#include "titan/distributed/reduction.h"

namespace titan::distributed {
namespace {

using Tensors = std::vector<at::Tensor>;

Pending ready(at::Tensor result) { return Pending(PendingTensors(Tensors{std::move(result)})); }

Pending pending(std::unique_ptr<InFlight> operation) { return Pending(PendingTensors(std::move(operation))); }

// Memory for what goes into `output`: its own where that is contiguous.
at::Tensor contiguous_or_new(const at::Tensor& output) {
  return output.is_contiguous() ? output.detach() : at::empty(output.sizes(), output.options());
}

void copy_unless_there(const at::Tensor& output, const at::Tensor& result) {
  const bool there = output.data_ptr() == result.data_ptr() && output.strides() == result.strides();
  if (!there) output.copy_(result);
}

void check_source(const char* name, int64_t source, const ProcessGroup& group) {
  TORCH_CHECK_VALUE(source >= 0 && source < group.size(), name, ": expected a source from 0 to ", group.size() - 1,
                    " (an index in the group), got ", source);
}

void check_sizes(const char* name, at::IntArrayRef sizes, const ProcessGroup& group) {
  TORCH_CHECK_VALUE(static_cast<int64_t>(sizes.size()) == group.size() &&
                        std::all_of(sizes.begin(), sizes.end(), [](int64_t size) { return size >= 0; }),
                    name, ": expected a size from 0 on for each of ", group.size(), " ranks, got ", sizes);
}

std::vector<int64_t> with_size(at::IntArrayRef sizes, int64_t dim, int64_t size) {
  std::vector<int64_t> result = sizes.vec();
  result[static_cast<size_t>(dim)] = size;
  return result;
}

std::vector<int64_t> stacked(at::IntArrayRef sizes, int64_t num) {
  std::vector<int64_t> result = sizes.vec();
  result.insert(result.begin(), num);
  return result;
}

int64_t sum(at::IntArrayRef sizes) { return std::accumulate(sizes.begin(), sizes.end(), int64_t{0}); }

// One number is gathered as a vector of one.
at::Tensor at_least_1d(const at::Tensor& x) { return x.dim() == 0 ? x.view({1}) : x; }

// The split of `rows` that all_to_all makes without splits.
std::vector<int64_t> equal_splits(const char* name, int64_t rows, const ProcessGroup& group) {
  TORCH_CHECK_VALUE(rows % group.size() == 0, name, ": expected a multiple of ", group.size(),
                    " along the dimension that is split, got ", rows);
  return std::vector<int64_t>(static_cast<size_t>(group.size()), rows / group.size());
}

}  // namespace

PendingTensors::PendingTensors(Tensors results) : results_(std::move(results)) {}
PendingTensors::PendingTensors(std::unique_ptr<InFlight> operation) : operation_(std::move(operation)) {}
PendingTensors::~PendingTensors() = default;
PendingTensors::PendingTensors(PendingTensors&&) noexcept = default;
PendingTensors& PendingTensors::operator=(PendingTensors&&) noexcept = default;

const Tensors& PendingTensors::wait() {
  if (operation_ != nullptr) {
    const std::unique_ptr<InFlight> operation = std::move(operation_);
    results_ = operation->finish();
  }
  return results_;
}

bool PendingTensors::completed() const { return operation_ == nullptr || operation_->completed(); }

Pending all_gather(const at::Tensor& x, ProcessGroup& group, int64_t dim) {
  if (group.size() == 1) return ready(at_least_1d(x));
  const at::NoGradGuard no_grad;
  const at::Tensor input = at_least_1d(x.detach()).contiguous();
  dim = c10::maybe_wrap_dim(dim, input.dim());
  const at::Tensor parts = at::empty(stacked(input.sizes(), group.size()), input.options());

  auto operation = std::make_unique<InFlight>("all_gather", x, group);
  operation->on_arrival = [parts, dim] {
    return Tensors{dim == 0 ? parts.flatten(0, 1) : at::cat(parts.unbind(0), dim)};
  };
  if (parts.numel() > 0) start_all_gather(*operation, parts, input, group);
  return pending(std::move(operation));
}

Pending all_gather_uneven(const at::Tensor& x, at::IntArrayRef sizes, ProcessGroup& group, int64_t dim) {
  dim = c10::maybe_wrap_dim(dim, x.dim());
  check_sizes("all_gather_uneven", sizes, group);
  TORCH_CHECK_VALUE(sizes[static_cast<size_t>(group.rank())] == x.size(dim),
                    "all_gather_uneven: expected this rank's size (", x.size(dim), ") at index ", group.rank(),
                    ", got ", sizes);
  if (group.size() == 1) return ready(x);
  const at::NoGradGuard no_grad;

  // Backends gather equal parts only, so all are as long as the longest.
  const int64_t longest = *std::max_element(sizes.begin(), sizes.end());
  at::Tensor input = x.detach().contiguous();
  if (x.size(dim) < longest) {
    input = at::empty(with_size(x.sizes(), dim, longest), x.options());
    input.narrow(dim, 0, x.size(dim)).copy_(x.detach());
  }
  const at::Tensor parts = at::empty(stacked(input.sizes(), group.size()), input.options());

  auto operation = std::make_unique<InFlight>("all_gather_uneven", x, group);
  operation->on_arrival = [parts, dim, sizes = sizes.vec()] {
    Tensors trimmed;
    for (size_t i = 0; i < sizes.size(); ++i)
      trimmed.push_back(parts[static_cast<int64_t>(i)].narrow(dim, 0, sizes[i]));
    return Tensors{at::cat(trimmed, dim)};
  };
  if (parts.numel() > 0) start_all_gather(*operation, parts, input, group);
  return pending(std::move(operation));
}

Pending reduce_scatter(const at::Tensor& x, ReduceOp op, ProcessGroup& group, int64_t dim) {
  TORCH_CHECK_VALUE(x.dim() > 0, "reduce_scatter: expected a tensor with dimensions, got a single number");
  dim = c10::maybe_wrap_dim(dim, x.dim());
  return reduce_scatter_uneven(x, equal_splits("reduce_scatter", x.size(dim), group), op, group, dim);
}

Pending reduce_scatter_uneven(const at::Tensor& x, at::IntArrayRef sizes, ReduceOp op, ProcessGroup& group,
                              int64_t dim) {
  dim = c10::maybe_wrap_dim(dim, x.dim());
  check_sizes("reduce_scatter_uneven", sizes, group);
  TORCH_CHECK_VALUE(sum(sizes) == x.size(dim), "reduce_scatter_uneven: expected sizes that add up to ", x.size(dim),
                    ", got ", sizes);
  const Reduction reduction("reduce_scatter", op, x.scalar_type(), group.size());
  if (group.size() == 1) return ready(x);
  const at::NoGradGuard no_grad;

  // The parts one after another in memory, all as long as the longest.
  const at::Tensor input = reduction.encode(x.detach());
  const int64_t longest = *std::max_element(sizes.begin(), sizes.end());
  const bool even = longest * group.size() == x.size(dim);
  at::Tensor parts;
  if (even && dim == 0) {
    parts = input.contiguous();
  } else {
    const std::vector<int64_t> shape = stacked(with_size(input.sizes(), dim, longest), group.size());
    parts = even ? at::empty(shape, input.options()) : at::zeros(shape, input.options());
    int64_t begin = 0;
    for (int64_t i = 0; i < group.size(); ++i) {
      const int64_t size = sizes[static_cast<size_t>(i)];
      parts[i].narrow(dim, 0, size).copy_(input.narrow(dim, begin, size));
      begin += size;
    }
  }
  const at::Tensor own = at::empty(with_size(input.sizes(), dim, longest), input.options());

  auto operation = std::make_unique<InFlight>("reduce_scatter", x, group);
  operation->on_arrival = [own, dim, size = sizes[static_cast<size_t>(group.rank())], reduction] {
    return Tensors{reduction.decode(own.narrow(dim, 0, size))};
  };
  if (parts.numel() > 0) start_reduce_scatter(*operation, own, parts, op, group);
  return pending(std::move(operation));
}

Pending all_reduce(const at::Tensor& x, ReduceOp op, ProcessGroup& group) {
  if (group.size() == 1) return all_reduce_(x, op, group);
  const at::NoGradGuard no_grad;
  return all_reduce_(x.detach().clone(at::MemoryFormat::Contiguous), op, group);
}

Pending all_to_all(const at::Tensor& x, ProcessGroup& group) {
  TORCH_CHECK_VALUE(x.dim() > 0, "all_to_all: expected a tensor with dimensions, got a single number");
  const std::vector<int64_t> splits = equal_splits("all_to_all", x.size(0), group);
  return all_to_all(x, splits, splits, group);
}

Pending all_to_all(const at::Tensor& x, at::IntArrayRef output_splits, at::IntArrayRef input_splits,
                   ProcessGroup& group) {
  TORCH_CHECK_VALUE(x.dim() > 0, "all_to_all: expected a tensor with dimensions, got a single number");
  check_sizes("all_to_all", input_splits, group);
  check_sizes("all_to_all", output_splits, group);
  TORCH_CHECK_VALUE(sum(input_splits) == x.size(0), "all_to_all: expected input splits that add up to ", x.size(0),
                    ", got ", input_splits);
  TORCH_CHECK_VALUE(input_splits[static_cast<size_t>(group.rank())] == output_splits[static_cast<size_t>(group.rank())],
                    "all_to_all: expected as many rows to as from itself on rank ", group.rank(), ", got splits ",
                    input_splits, " and ", output_splits);
  if (group.size() == 1) return ready(x);
  const at::NoGradGuard no_grad;
  const at::Tensor input = x.detach().contiguous();
  const at::Tensor output = at::empty(with_size(input.sizes(), 0, sum(output_splits)), input.options());
  const int64_t row_bytes = c10::multiply_integers(input.sizes().slice(1)) * static_cast<int64_t>(input.element_size());

  auto operation = std::make_unique<InFlight>("all_to_all", x, group);
  operation->on_arrival = [output] { return Tensors{output}; };
  // A rank without rows takes part all the same: others may have some.
  if (row_bytes > 0) start_all_to_all(*operation, output, input, row_bytes, output_splits, input_splits, group);
  return pending(std::move(operation));
}

Pending all_reduce_(at::Tensor x, ReduceOp op, ProcessGroup& group) {
  const Reduction reduction("all_reduce", op, x.scalar_type(), group.size());
  if (group.size() == 1) return ready(std::move(x));
  const at::NoGradGuard no_grad;
  const at::Tensor buffer = reduction.encode(x.detach()).contiguous();

  auto operation = std::make_unique<InFlight>("all_reduce", x, group);
  operation->on_arrival = [x, buffer, reduction] {
    copy_unless_there(x, reduction.decode(buffer));
    return Tensors{x};
  };
  if (x.numel() > 0) start_all_reduce(*operation, buffer, op, group);
  return pending(std::move(operation));
}

Pending all_gather_into(at::Tensor output, const at::Tensor& x, ProcessGroup& group) {
  TORCH_CHECK_VALUE(output.numel() == x.numel() * group.size() && output.scalar_type() == x.scalar_type(),
                    "all_gather_into: expected an output of ", group.size(), " times ", x.sizes(), " of ",
                    x.scalar_type(), ", got ", output.sizes(), " of ", output.scalar_type());
  const at::NoGradGuard no_grad;
  const at::Tensor input = x.detach().contiguous();
  if (group.size() == 1) {
    copy_unless_there(output, input.view(output.sizes()));
    return ready(std::move(output));
  }
  const at::Tensor parts = contiguous_or_new(output);

  auto operation = std::make_unique<InFlight>("all_gather_into", x, group);
  operation->on_arrival = [output, parts] {
    copy_unless_there(output, parts);
    return Tensors{output};
  };
  if (parts.numel() > 0) start_all_gather(*operation, parts, input, group);
  return pending(std::move(operation));
}

Pending reduce_scatter_into(at::Tensor output, const at::Tensor& x, ReduceOp op, ProcessGroup& group) {
  TORCH_CHECK_VALUE(x.numel() == output.numel() * group.size() && output.scalar_type() == x.scalar_type(),
                    "reduce_scatter_into: expected an input of ", group.size(), " times ", output.sizes(), " of ",
                    output.scalar_type(), ", got ", x.sizes(), " of ", x.scalar_type());
  const Reduction reduction("reduce_scatter_into", op, x.scalar_type(), group.size());
  const at::NoGradGuard no_grad;
  const at::Tensor input = reduction.encode(x.detach()).contiguous();
  if (group.size() == 1) {
    copy_unless_there(output, x.detach().reshape(output.sizes()));
    return ready(std::move(output));
  }
  const at::Tensor own = contiguous_or_new(reduction.encode(output.detach()));

  auto operation = std::make_unique<InFlight>("reduce_scatter_into", x, group);
  operation->on_arrival = [output, own, reduction] {
    copy_unless_there(output, reduction.decode(own));
    return Tensors{output};
  };
  if (input.numel() > 0) start_reduce_scatter(*operation, own, input, op, group);
  return pending(std::move(operation));
}

Pending broadcast_(at::Tensor x, int64_t source, ProcessGroup& group) {
  check_source("broadcast", source, group);
  if (group.size() == 1) return ready(std::move(x));
  const at::NoGradGuard no_grad;
  const at::Tensor buffer = x.detach().contiguous();

  auto operation = std::make_unique<InFlight>("broadcast", x, group);
  operation->on_arrival = [x, buffer] {
    copy_unless_there(x, buffer);
    return Tensors{x};
  };
  if (x.numel() > 0) start_broadcast(*operation, buffer, source, group);
  return pending(std::move(operation));
}

Pending scatter_into(at::Tensor output, const Tensors& parts, int64_t source, ProcessGroup& group) {
  check_source("scatter", source, group);
  const at::NoGradGuard no_grad;
  Tensors sent;
  if (group.rank() == source) {
    TORCH_CHECK_VALUE(static_cast<int64_t>(parts.size()) == group.size(), "scatter: expected a part for each of ",
                      group.size(), " ranks, got ", parts.size());
    for (const at::Tensor& part : parts) {
      TORCH_CHECK_VALUE(part.sizes() == output.sizes() && part.scalar_type() == output.scalar_type(),
                        "scatter: expected parts like the output, ", output.sizes(), " of ", output.scalar_type(),
                        ", got ", part.sizes(), " of ", part.scalar_type());
      sent.push_back(part.detach().contiguous());
    }
  }
  if (group.size() == 1) {
    copy_unless_there(output, sent.front());
    return ready(std::move(output));
  }
  const at::Tensor buffer = contiguous_or_new(output);

  auto operation = std::make_unique<InFlight>("scatter", output, group);
  operation->on_arrival = [output, buffer, sent] {
    copy_unless_there(output, buffer);
    return Tensors{output};
  };
  if (output.numel() > 0) start_scatter(*operation, buffer, sent, source, group);
  return pending(std::move(operation));
}

void barrier(ProcessGroup& group) {
  if (group.size() == 1) return;
  // A number of everybody's: some backends wait in their own barrier for operations that are still under way.
  all_reduce_(at::zeros({1}), ReduceOp::kSum, group).wait();
}

}  // namespace titan::distributed
