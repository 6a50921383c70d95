// Operators that compute each element of the result from the elements at the same place of the operands, after
// broadcasting. Any dimension may be sharded. Those that are linear take partial sums as they are.
#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"

namespace titan::dtensor {
namespace {

// f(a + b) = f(a) + f(b) in all operands taken together: sums, differences, and what only moves or scales.
std::vector<Strategy> linear(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  for (const Placement& term : sums(call)) {
    Strategy strategy{Placements(call.operands.size(), term), Placements(call.outputs.size(), term)};
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

// Linear in each operand by itself: mul.
std::vector<Strategy> multilinear(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  for (const Placement& term : sums(call)) {
    for (const std::string_view name : {"self", "other"}) {
      if (call.find(name) != nullptr) strategies.push_back(call.strategy({{name, term}}, {term}));
    }
  }
  return strategies;
}

// Linear in `self` alone: div.
std::vector<Strategy> linear_in_self(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  for (const Placement& term : sums(call)) strategies.push_back(call.strategy({{"self", term}}, {term}));
  return strategies;
}

// Writing zeros is linear too.
std::vector<Strategy> masked_fill(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  if (!call.argument("value").isScalar() || call.argument("value").toScalar().toComplexDouble() != 0.0)
    return strategies;
  for (const Placement& term : sums(call)) strategies.push_back(call.strategy({{"self", term}}, {term}));
  return strategies;
}

// where(condition, self, other): linear in the last two.
std::vector<Strategy> linear_but_condition(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  for (const Placement& term : sums(call)) {
    strategies.push_back(call.strategy({{"self", term}, {"other", term}}, {term}));
  }
  return strategies;
}

}  // namespace

void add_pointwise_rules(RuleTable& table) {
  table.begin_family("pointwise");
  table.add_with_variants(
      {
          "aten::add.Tensor",
          "aten::sub.Tensor",
          "aten::neg",
          "aten::lerp.Scalar",
      },
      {.per_axis = linear});
  table.add({"aten::rsub.Tensor"}, {.per_axis = linear, .outputs = elementwise_outputs});
  table.add_with_variants({"aten::mul.Tensor", "aten::mul.Scalar"}, {.per_axis = multilinear});
  table.add_with_variants({"aten::div.Tensor", "aten::div.Scalar"}, {.per_axis = linear_in_self});
  table.add_with_variants({"aten::masked_fill.Scalar"},
                          {.per_axis = masked_fill, .outputs = elementwise_outputs, .numbers_matter = true});
  table.add_with_variants({"aten::where.self"}, {.per_axis = linear_but_condition, .outputs = elementwise_outputs});
  table.add_with_variants({"aten::abs",
                           "aten::acos",
                           "aten::acosh",
                           "aten::add.Scalar",
                           "aten::addcdiv",
                           "aten::addcmul",
                           "aten::angle",
                           "aten::asin",
                           "aten::asinh",
                           "aten::atan",
                           "aten::atan2",
                           "aten::atanh",
                           "aten::bitwise_and.Scalar",
                           "aten::bitwise_and.Tensor",
                           "aten::bitwise_not",
                           "aten::bitwise_or.Scalar",
                           "aten::bitwise_or.Tensor",
                           "aten::bitwise_xor.Scalar",
                           "aten::bitwise_xor.Tensor",
                           "aten::bitwise_left_shift.Tensor",
                           "aten::bitwise_right_shift.Tensor",
                           "aten::ceil",
                           "aten::clamp",
                           "aten::clamp.Tensor",
                           "aten::clamp_max",
                           "aten::clamp_max.Tensor",
                           "aten::clamp_min",
                           "aten::clamp_min.Tensor",
                           "aten::complex",
                           "aten::copysign.Scalar",
                           "aten::copysign.Tensor",
                           "aten::cos",
                           "aten::cosh",
                           "aten::div.Scalar_mode",
                           "aten::div.Tensor_mode",
                           "aten::elu",
                           "aten::elu_backward",
                           "aten::eq.Scalar",
                           "aten::eq.Tensor",
                           "aten::erf",
                           "aten::erfc",
                           "aten::erfinv",
                           "aten::exp",
                           "aten::exp2",
                           "aten::expm1",
                           "aten::floor",
                           "aten::floor_divide",
                           "aten::floor_divide.Scalar",
                           "aten::fmax",
                           "aten::fmin",
                           "aten::fmod.Scalar",
                           "aten::fmod.Tensor",
                           "aten::frac",
                           "aten::ge.Scalar",
                           "aten::ge.Tensor",
                           "aten::gelu",
                           "aten::gelu_backward",
                           "aten::gt.Scalar",
                           "aten::gt.Tensor",
                           "aten::hardsigmoid",
                           "aten::hardsigmoid_backward",
                           "aten::hardswish",
                           "aten::hardswish_backward",
                           "aten::hardtanh",
                           "aten::hardtanh_backward",
                           "aten::heaviside",
                           "aten::hypot",
                           "aten::isinf",
                           "aten::isnan",
                           "aten::isneginf",
                           "aten::isposinf",
                           "aten::le.Scalar",
                           "aten::le.Tensor",
                           "aten::leaky_relu",
                           "aten::leaky_relu_backward",
                           "aten::lerp.Tensor",
                           "aten::lgamma",
                           "aten::digamma",
                           "aten::log",
                           "aten::log10",
                           "aten::log1p",
                           "aten::log2",
                           "aten::log_sigmoid_backward",
                           "aten::logaddexp",
                           "aten::logaddexp2",
                           "aten::logical_and",
                           "aten::logical_not",
                           "aten::logical_or",
                           "aten::logical_xor",
                           "aten::logit",
                           "aten::logit_backward",
                           "aten::lt.Scalar",
                           "aten::lt.Tensor",

                           "aten::masked_fill.Tensor",
                           "aten::maximum",
                           "aten::minimum",
                           "aten::mish",
                           "aten::mish_backward",

                           "aten::nan_to_num",
                           "aten::ne.Scalar",
                           "aten::ne.Tensor",
                           "aten::nextafter",
                           "aten::polar",
                           "aten::pow.Scalar",
                           "aten::pow.Tensor_Scalar",
                           "aten::pow.Tensor_Tensor",
                           "aten::reciprocal",
                           "aten::relu",
                           "aten::remainder.Scalar",
                           "aten::remainder.Tensor",
                           "aten::remainder.Scalar_Tensor",
                           "aten::round",
                           "aten::round.decimals",
                           "aten::rsqrt",
                           "aten::rsub.Scalar",
                           "aten::sgn",
                           "aten::sigmoid",
                           "aten::sigmoid_backward",
                           "aten::sign",
                           "aten::signbit",
                           "aten::silu",
                           "aten::silu_backward",
                           "aten::sin",
                           "aten::sinc",
                           "aten::sinh",
                           "aten::softplus",
                           "aten::softplus_backward",
                           "aten::softshrink",
                           "aten::sqrt",
                           "aten::square",
                           "aten::sub.Scalar",
                           "aten::tan",
                           "aten::tanh",
                           "aten::tanh_backward",
                           "aten::threshold",
                           "aten::threshold_backward",
                           "aten::trunc",
                           "aten::where.Scalar",
                           "aten::where.ScalarOther",

                           "aten::xlogy.Tensor"},
                          {.per_axis = elementwise, .outputs = elementwise_outputs});
}

}  // namespace titan::dtensor
