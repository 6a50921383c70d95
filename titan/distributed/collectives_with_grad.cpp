#include "titan/distributed/collectives_with_grad.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <functional>
#include <memory>

#include "titan/distributed/collectives.h"
#include "titan/distributed/recorder/served_module.h"

namespace titan::distributed {
namespace {

using Direction = std::function<at::Tensor(const at::Tensor&)>;

// The backward of a collective is a collective. It is one with gradients, so second derivatives come by themselves.
class CommunicationBackward : public torch::autograd::Node {
 public:
  CommunicationBackward(std::string name, Direction backward)
      : name_(std::move(name)), backward_(std::move(backward)) {}
  std::string name() const override { return name_; }

 protected:
  // A gradient that is not there is zero: the other ranks wait for this one all the same.
  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override {
    const recorder::ServedModule served(served_);
    const at::Tensor grad = grads.front().defined() ? grads.front() : input_metadata(0).zeros_like();
    return {backward_(grad)};
  }

 private:
  std::string name_;
  Direction backward_;
  recorder::ModuleName served_ = recorder::served_module();  // by the forward
};

at::Tensor communicate(const char* name, const at::Tensor& x, const Direction& forward, Direction backward) {
  at::Tensor y;
  {
    const at::NoGradGuard no_grad;
    y = forward(x.detach());
  }
  if (!at::GradMode::is_enabled() || !x.requires_grad()) return y;
  auto node = std::make_shared<CommunicationBackward>(name, std::move(backward));
  node->set_next_edges(torch::autograd::collect_next_edges(x));
  torch::autograd::set_history(y, node);
  return y;
}

}  // namespace

at::Tensor all_gather_with_grad(const at::Tensor& x, ProcessGroup& group, int64_t dim) {
  if (group.size() == 1) return x;
  return communicate(
      "AllGatherBackward", x, [&](const at::Tensor& x) { return all_gather(x, group, dim).wait(); },
      [group = group.shared_from_this(), dim](const at::Tensor& grad) {
        return reduce_scatter_with_grad(grad, *group, dim);
      });
}

at::Tensor all_gather_uneven_with_grad(const at::Tensor& x, at::IntArrayRef sizes, ProcessGroup& group, int64_t dim) {
  if (group.size() == 1) return x;
  return communicate(
      "AllGatherBackward", x, [&](const at::Tensor& x) { return all_gather_uneven(x, sizes, group, dim).wait(); },
      [group = group.shared_from_this(), sizes = sizes.vec(), dim](const at::Tensor& grad) {
        return reduce_scatter_uneven_with_grad(grad, sizes, *group, dim);
      });
}

at::Tensor reduce_scatter_with_grad(const at::Tensor& x, ProcessGroup& group, int64_t dim) {
  if (group.size() == 1) return x;
  return communicate(
      "ReduceScatterBackward", x,
      [&](const at::Tensor& x) { return reduce_scatter(x, ReduceOp::kSum, group, dim).wait(); },
      [group = group.shared_from_this(), dim](const at::Tensor& grad) {
        return all_gather_with_grad(grad, *group, dim);
      });
}

at::Tensor reduce_scatter_uneven_with_grad(const at::Tensor& x, at::IntArrayRef sizes, ProcessGroup& group,
                                           int64_t dim) {
  if (group.size() == 1) return x;
  return communicate(
      "ReduceScatterBackward", x,
      [&](const at::Tensor& x) { return reduce_scatter_uneven(x, sizes, ReduceOp::kSum, group, dim).wait(); },
      [group = group.shared_from_this(), sizes = sizes.vec(), dim](const at::Tensor& grad) {
        return all_gather_uneven_with_grad(grad, sizes, *group, dim);
      });
}

at::Tensor all_reduce_with_grad(const at::Tensor& x, ProcessGroup& group) {
  if (group.size() == 1) return x;
  return communicate(
      "AllReduceBackward", x, [&](const at::Tensor& x) { return all_reduce(x, ReduceOp::kSum, group).wait(); },
      [group = group.shared_from_this()](const at::Tensor& grad) { return all_reduce_with_grad(grad, *group); });
}

at::Tensor all_reduce_in_forward(const at::Tensor& x, ProcessGroup& group) {
  if (group.size() == 1) return x;
  return communicate(
      "AllReduceInForwardBackward", x, [&](const at::Tensor& x) { return all_reduce(x, ReduceOp::kSum, group).wait(); },
      [group = group.shared_from_this()](const at::Tensor& grad) { return all_reduce_in_backward(grad, *group); });
}

at::Tensor all_reduce_in_backward(const at::Tensor& x, ProcessGroup& group) {
  if (group.size() == 1) return x;
  return communicate(
      "AllReduceInBackwardBackward", x, [](const at::Tensor& x) { return x; },
      [group = group.shared_from_this()](const at::Tensor& grad) { return all_reduce_in_forward(grad, *group); });
}

at::Tensor all_to_all_with_grad(const at::Tensor& x, at::IntArrayRef output_splits, at::IntArrayRef input_splits,
                                ProcessGroup& group) {
  if (group.size() == 1) return x;
  return communicate(
      "AllToAllBackward", x,
      [&](const at::Tensor& x) {
        return input_splits.empty() ? all_to_all(x, group).wait()
                                    : all_to_all(x, output_splits, input_splits, group).wait();
      },
      [group = group.shared_from_this(), output_splits = output_splits.vec(), input_splits = input_splits.vec()](
          const at::Tensor& grad) { return all_to_all_with_grad(grad, input_splits, output_splits, *group); });
}

}  // namespace titan::distributed
