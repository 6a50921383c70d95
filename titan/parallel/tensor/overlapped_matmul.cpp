#include "titan/parallel/tensor/overlapped_matmul.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/core/WrapDimMinimal.h>
#include <c10/util/Exception.h>

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include "titan/distributed/partwise.h"
#include "titan/distributed/process_group.h"
#include "titan/distributed/recorder/served_module.h"
#include "titan/dtensor/dtensor.h"

namespace titan::parallel {
namespace {

using distributed::ProcessGroup;
using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// [Note: sequence first] What is between [.., seq, .., features] and a matrix of rows, sequence outermost.
class Rows {
 public:
  // Of tensors like x, where dimension `dim` is as long as `seq`.
  Rows(const at::Tensor& x, int64_t dim, int64_t seq) : dim_(dim) {
    sizes_ = x.movedim(dim, 0).sizes().vec();
    sizes_.front() = seq;
    sizes_.pop_back();
  }

  int64_t count() const { return c10::multiply_integers(sizes_); }
  // [.., features] -> [rows, features]; a copy unless the sequence is first already.
  at::Tensor of(const at::Tensor& x) const { return x.movedim(dim_, 0).reshape({count(), x.size(-1)}); }
  // [rows, features], contiguous, in any number of dimensions -> [.., features]
  at::Tensor back(const at::Tensor& rows) const {
    std::vector<int64_t> sizes = sizes_;
    sizes.push_back(rows.size(-1));
    return rows.view(sizes).movedim(0, dim_);
  }

 private:
  int64_t dim_;
  std::vector<int64_t> sizes_;  // sequence first, without features
};

// The `rank`-th of equal parts.
at::Tensor part_of(const at::Tensor& rows, int64_t rank, const ProcessGroup& group) {
  const int64_t size = rows.size(0) / group.size();
  return rows.narrow(0, rank * size, size);
}

// The ranks from the next one on: the order in which parts come and terms go.
std::vector<int64_t> others(const ProcessGroup& group) {
  std::vector<int64_t> ranks;
  for (int64_t k = 1; k < group.size(); ++k) ranks.push_back((group.rank() + k) % group.size());
  return ranks;
}

// parts[r] W for every rank r, one after another, each as soon as it is there: [rows of all parts, features] for each
// W.
std::vector<at::Tensor> multiply_parts(distributed::PartwiseAllGather& gather, const std::vector<at::Tensor>& weights,
                                       const ProcessGroup& group) {
  const int64_t num_rows = gather.parts().size(0) * gather.parts().size(1);
  std::vector<at::Tensor> products;
  for (const at::Tensor& weight : weights) {
    products.push_back(at::empty({num_rows, weight.size(1)}, gather.parts().options()));
  }
  const auto multiply = [&](int64_t rank) {
    const at::Tensor part = gather.wait(rank);
    for (size_t i = 0; i < weights.size(); ++i) {
      at::Tensor product = part_of(products[i], rank, group);
      at::mm_out(product, part, weights[i]);
    }
  };
  multiply(group.rank());
  for (const int64_t rank : others(group)) multiply(rank);
  return products;
}

// This rank's part of the sum over ranks of `addend` (if defined) plus all factors[i] weights[i], of `sizes`.
// `meanwhile` runs while the last terms travel.
at::Tensor sum_of_products(const std::vector<at::Tensor>& factors, const std::vector<at::Tensor>& weights,
                           const at::Tensor& addend, at::IntArrayRef sizes, const at::TensorOptions& options,
                           ProcessGroup& group, const std::function<void()>& meanwhile) {
  const auto scatter = distributed::partwise_reduce_scatter(sizes, options, group);
  const auto make_term = [&](int64_t rank) {
    at::Tensor term = scatter->term(rank);
    if (addend.defined()) term.copy_(part_of(addend, rank, group));
    for (size_t i = 0; i < factors.size(); ++i) {
      const at::Tensor factor = part_of(factors[i], rank, group);
      if (i == 0 && !addend.defined()) {
        at::mm_out(term, factor, weights[i]);
      } else {
        term.addmm_(factor, weights[i]);
      }
    }
  };
  for (const int64_t rank : others(group)) {
    make_term(rank);
    scatter->send(rank);
  }
  make_term(group.rank());
  meanwhile();
  return scatter->sum();
}

void expect_first_derivative(const Node& node) {
  TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled(), node.name(),
                              ": second derivatives are not available; leave "
                              "parallelism.enable_async_tensor_parallel off");
}

ProcessGroup& group_of(const at::Tensor& weight) {
  const dtensor::Mesh mesh = dtensor::mesh_of(weight);
  TORCH_INTERNAL_ASSERT(mesh.num_axes() == 1, "a weight on ", mesh.name());
  return mesh.group(0);
}

// A product of local parts as the gradient of the weight.
at::Tensor as_gradient_of(const at::Tensor& weight, const at::Tensor& product) {
  return dtensor::from_local(product, dtensor::mesh_of(weight), dtensor::placements_of(weight), weight.sizes());
}

// --- the gathered side ---

struct AllGatherMatmulBackward : Node {
  std::string name() const override { return "AllGatherMatmulBackward"; }
  void release_variables() override {
    x.reset_data();
    for (SavedVariable& weight : weights) weight.reset_data();
  }

  // Gradients: of the whole x, if it was used, and of each product.
  variable_list apply(variable_list&& gradients) override {
    expect_first_derivative(*this);
    const distributed::recorder::ServedModule scope(served);
    const at::Tensor part = x.unpack();
    const Rows rows_of_part(part, dim, part.size(dim)), rows(part, dim, part.size(dim) * group->size());
    const at::Tensor own = rows_of_part.of(part);
    std::vector<at::Tensor> used, locals, factors;
    std::vector<size_t> edges;  // of each used weight
    for (size_t i = 0; i < weights.size(); ++i) {
      if (!gradients[i + 1].defined()) continue;
      used.push_back(weights[i].unpack());
      locals.push_back(dtensor::local_of(used.back()));
      factors.push_back(rows.of(gradients[i + 1]));
      edges.push_back(i + 1);
    }
    variable_list results(1 + weights.size());

    // 1. The gather starts; the products of x's gradient hide it.
    std::unique_ptr<distributed::PartwiseAllGather> gather;
    if (std::any_of(edges.begin(), edges.end(), [this](size_t edge) { return task_should_compute_output(edge); })) {
      gather = distributed::partwise_all_gather(own, *group);
    }
    // 2. The weights' gradients; they hide the last terms of x's.
    const auto weight_gradients = [&] {
      if (gather == nullptr) return;
      for (const int64_t rank : others(*group)) gather->wait(rank);
      const at::Tensor whole = gather->parts().flatten(0, 1);
      for (size_t i = 0; i < used.size(); ++i) {
        if (!task_should_compute_output(edges[i])) continue;
        results[edges[i]] = as_gradient_of(used[i], at::mm(factors[i].t(), whole));
      }
    };
    if (task_should_compute_output(0)) {
      const at::Tensor of_whole = gradients[0].defined() ? rows.of(gradients[0]) : at::Tensor();
      results[0] = rows_of_part.back(
          sum_of_products(factors, locals, of_whole, own.sizes(), own.options(), *group, weight_gradients));
    } else {
      weight_gradients();
    }
    return results;
  }

  SavedVariable x;
  std::vector<SavedVariable> weights;
  int64_t dim = 0;
  std::shared_ptr<ProcessGroup> group;
  distributed::recorder::ModuleName served = distributed::recorder::served_module();  // by the forward
};

// --- the scattered side ---

struct MatmulReduceScatterBackward : Node {
  std::string name() const override { return "MatmulReduceScatterBackward"; }
  void release_variables() override {
    x.reset_data();
    weight.reset_data();
  }

  variable_list apply(variable_list&& gradients) override {
    expect_first_derivative(*this);
    const distributed::recorder::ServedModule scope(served);
    if (!gradients[0].defined()) return {at::Tensor(), at::Tensor()};
    const at::Tensor input = x.unpack(), w = weight.unpack();
    const Rows rows(input, dim, input.size(dim)), rows_of_part(input, dim, input.size(dim) / group->size());
    const auto gather = distributed::partwise_all_gather(rows_of_part.of(gradients[0]), *group);
    variable_list results(2);
    results[0] = rows.back(multiply_parts(*gather, {dtensor::local_of(w)}, *group).front());
    if (task_should_compute_output(1)) {
      results[1] = as_gradient_of(w, at::mm(gather->parts().flatten(0, 1).t(), rows.of(input)));
    }
    return results;
  }

  SavedVariable x, weight;
  int64_t dim = 0;
  std::shared_ptr<ProcessGroup> group;
  distributed::recorder::ModuleName served = distributed::recorder::served_module();  // by the forward
};

bool needs_gradient(const at::Tensor& x) { return x.requires_grad(); }

}  // namespace

std::vector<at::Tensor> all_gather_matmul(const at::Tensor& x, const std::vector<at::Tensor>& weights, int64_t dim) {
  TORCH_INTERNAL_ASSERT(!weights.empty());
  ProcessGroup& group = group_of(weights.front());
  dim = c10::maybe_wrap_dim(dim, x.dim());
  std::vector<at::Tensor> results;
  {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;  // no view relations: the node alone links them
    std::vector<at::Tensor> locals;
    for (const at::Tensor& weight : weights) locals.push_back(dtensor::local_of(weight).t());
    const Rows rows_of_part(x, dim, x.size(dim)), rows(x, dim, x.size(dim) * group.size());
    const auto gather = distributed::partwise_all_gather(rows_of_part.of(x), group);
    const std::vector<at::Tensor> products = multiply_parts(*gather, locals, group);
    results.push_back(rows.back(gather->parts().flatten(0, 1)));
    for (const at::Tensor& product : products) results.push_back(rows.back(product));
  }
  variable_list inputs{x};
  inputs.insert(inputs.end(), weights.begin(), weights.end());
  if (!at::GradMode::is_enabled() || !std::any_of(inputs.begin(), inputs.end(), needs_gradient)) return results;
  const auto node = std::shared_ptr<AllGatherMatmulBackward>(new AllGatherMatmulBackward, torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  node->x = SavedVariable(x, /*is_output=*/false);
  for (const at::Tensor& weight : weights) node->weights.emplace_back(weight, /*is_output=*/false);
  node->dim = dim;
  node->group = group.shared_from_this();
  torch::autograd::set_history(results, node);
  return results;
}

at::Tensor matmul_reduce_scatter(const at::Tensor& x, const at::Tensor& weight, int64_t dim) {
  ProcessGroup& group = group_of(weight);
  dim = c10::maybe_wrap_dim(dim, x.dim());
  TORCH_CHECK_VALUE(x.size(dim) % group.size() == 0, "matmul_reduce_scatter: expected a multiple of ", group.size(),
                    " along dimension ", dim, ", got ", x.sizes());
  at::Tensor result;
  {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;  // no view relations: the node alone links them
    const Rows rows(x, dim, x.size(dim)), rows_of_part(x, dim, x.size(dim) / group.size());
    const at::Tensor local = dtensor::local_of(weight).t();
    result = rows_of_part.back(
        sum_of_products({rows.of(x)}, {local}, {}, {rows_of_part.count(), weight.size(0)}, x.options(), group, [] {}));
  }
  if (!at::GradMode::is_enabled() || (!x.requires_grad() && !weight.requires_grad())) return result;
  const auto node =
      std::shared_ptr<MatmulReduceScatterBackward>(new MatmulReduceScatterBackward, torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(x, weight));
  node->x = SavedVariable(x, /*is_output=*/false);
  node->weight = SavedVariable(weight, /*is_output=*/false);
  node->dim = dim;
  node->group = group.shared_from_this();
  torch::autograd::set_history(result, node);
  return result;
}

}  // namespace titan::parallel
