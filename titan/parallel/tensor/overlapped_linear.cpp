#include "titan/parallel/tensor/overlapped_linear.h"

#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

#include <utility>

#include "titan/dtensor/dtensor.h"
#include "titan/parallel/tensor/overlapped_matmul.h"

namespace titan::parallel {
namespace {

void take_parameters(nn::Linear& to, const nn::Linear& from) {
  to.weight.set(from.weight);
  if (from.bias != nullptr) to.bias->set(from.bias->get());
}

}  // namespace

GatheredLinear::GatheredLinear(const nn::Linear& linear)
    : Linear(linear.weight.get().size(1), linear.weight.get().size(0), linear.weight.get().scalar_type(),
             linear.bias != nullptr) {
  take_parameters(*this, linear);
}

at::Tensor GatheredLinear::gather(const at::Tensor& part, const std::vector<GatheredLinear*>& layers, int64_t dim) {
  std::vector<at::Tensor> weights;
  for (const GatheredLinear* layer : layers) weights.push_back(layer->weight);
  std::vector<at::Tensor> results = all_gather_matmul(part, weights, dim);
  for (size_t i = 0; i < layers.size(); ++i) layers[i]->product_ = std::move(results[i + 1]);
  return std::move(results.front());
}

at::Tensor GatheredLinear::forward(const at::Tensor& /*x*/) {
  TORCH_INTERNAL_ASSERT(product_.defined(), fqn(), " is called without its input being gathered before");
  at::Tensor product = std::exchange(product_, {});
  if (bias == nullptr) return product;
  return product + dtensor::to_local(bias->get());
}

ScatteredLinear::ScatteredLinear(const nn::Linear& linear, int64_t dim)
    : Linear(linear.weight.get().size(1), linear.weight.get().size(0), linear.weight.get().scalar_type(),
             linear.bias != nullptr),
      dim_(dim) {
  take_parameters(*this, linear);
}

at::Tensor ScatteredLinear::forward(const at::Tensor& x) {
  at::Tensor sum = matmul_reduce_scatter(x, weight, dim_);
  if (bias == nullptr) return sum;
  // Each rank adds the bias to its part; what its part gives the gradient is a term.
  return sum + dtensor::to_local(bias->get(), dtensor::Placements{dtensor::partial()});
}

}  // namespace titan::parallel
