#include "titan/activation_checkpoint/selective_operators.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <optional>

#include "titan/activation_checkpoint/kept_results.h"
#include "titan/nn/linear.h"

namespace titan::activation_checkpoint {
namespace {

// What each call of the product multiplies by, if it is a matrix product: mm(x, w), and those of its kind.
std::optional<ProductShape> product_shape(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const std::string& name = op.schema().name();
  // Which argument is the second operand.
  const size_t second = name == "aten::mm" || name == "aten::bmm" || name == "aten::_scaled_mm" ? 1
                        : name == "aten::addmm" || name == "aten::baddbmm"                      ? 2
                                                                                                : 0;
  if (second == 0) return std::nullopt;
  const at::Tensor& operand = torch::jit::peek(stack, second, op.schema().arguments().size()).toTensor();
  return ProductShape(operand.size(-2), operand.size(-1));
}

class KeepDearOperators : public OperatorPolicy {
 public:
  explicit KeepDearOperators(std::set<ProductShape> recomputed) : recomputed_(std::move(recomputed)) {}

  bool keeps(const c10::OperatorHandle& op, const torch::jit::Stack& stack) override {
    if (const auto shape = product_shape(op, stack)) {
      if (recomputed_.contains(*shape)) return false;
      return ++num_products_ % 2 == 1;
    }
    const auto& dear = dear_operators();
    return std::find(dear.begin(), dear.end(), op.schema().name()) != dear.end();
  }
  bool keeps(dtensor::Communication kind) override { return kind != dtensor::Communication::kGather; }

 private:
  std::set<ProductShape> recomputed_;
  int64_t num_products_ = 0;
};

}  // namespace

std::set<ProductShape> shapes_of_linears(nn::Module& module, const std::vector<std::string>& fqn_parts) {
  std::set<ProductShape> shapes;
  for (nn::Module* below : module.modules()) {
    const std::string fqn = below->fqn();
    for (const std::string& part : fqn_parts) {
      if (fqn.find(part) == std::string::npos) continue;
      const auto* const linear = dynamic_cast<const nn::Linear*>(below);
      TORCH_CHECK_VALUE(linear != nullptr,
                        "activation_checkpoint.per_op_sac_force_recompute_mm_shapes_by_fqns: expected names of linear "
                        "layers, got '",
                        part, "', which ", fqn, " matches; name its linear layers");
      const at::Tensor& weight = linear->weight.get();
      shapes.emplace(weight.size(1), weight.size(0));
    }
  }
  return shapes;
}

std::function<std::unique_ptr<OperatorPolicy>()> keep_dear_operators(std::set<ProductShape> recomputed) {
  return [recomputed = std::move(recomputed)] { return std::make_unique<KeepDearOperators>(recomputed); };
}

const std::vector<std::string>& dear_operators() {
  static const std::vector<std::string> names{
      "aten::mm",
      "aten::addmm",
      "aten::bmm",
      "aten::baddbmm",
      "aten::_scaled_mm",
      "aten::_scaled_dot_product_flash_attention",
      "aten::_scaled_dot_product_flash_attention_for_cpu",
      "aten::_scaled_dot_product_efficient_attention",
      "aten::_scaled_dot_product_cudnn_attention",
      "titan::attention",
      "titan::ring_attention",
      // Of a float8 cast: one number out of a whole tensor.
      "aten::max",
      "aten::aminmax",
  };
  return names;
}

}  // namespace titan::activation_checkpoint
