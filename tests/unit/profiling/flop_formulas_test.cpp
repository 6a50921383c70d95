#include "titan/profiling/flop_formulas.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "titan/kernels/operators.h"

namespace titan::profiling {
namespace {

TEST(NumAttendedPairs, CausalIsTheLowerTriangle) {
  EXPECT_EQ(num_attended_pairs(5, 7, /*causal=*/false), 35);
  EXPECT_EQ(num_attended_pairs(4, 4, /*causal=*/true), 1 + 2 + 3 + 4);
  EXPECT_EQ(num_attended_pairs(3, 5, /*causal=*/true), 1 + 2 + 3);
  EXPECT_EQ(num_attended_pairs(5, 3, /*causal=*/true), 1 + 2 + 3 + 3 + 3);
  EXPECT_EQ(num_attended_pairs(0, 3, /*causal=*/true), 0);
}

TEST(NumAttendedPairs, OfAMaskAreSummedOverTheBatch) {
  const auto pairs = [](bool causal, int64_t offset, int64_t window, const at::Tensor& first_key = {}) {
    return num_attended_pairs(2, 4, 5, causal, offset, window, first_key);
  };
  EXPECT_EQ(pairs(false, 0, 0), 2 * 20);
  EXPECT_EQ(pairs(true, 0, 0), 2 * (1 + 2 + 3 + 4));
  EXPECT_EQ(pairs(true, 2, 0), 2 * (3 + 4 + 5 + 5));
  EXPECT_EQ(pairs(true, -2, 0), 2 * (0 + 0 + 1 + 2));
  EXPECT_EQ(pairs(true, 0, 2), 2 * (1 + 2 + 2 + 2));
  at::Tensor first_key = at::zeros({2, 4}, at::kLong);
  first_key[1].slice(0, 2).fill_(2);  // a second document begins at 2
  EXPECT_EQ(pairs(true, 0, 0, first_key), (1 + 2 + 3 + 4) + (1 + 2 + 1 + 2));
}

TEST(FlopFormula, LooksAtTheNameWithoutItsOverload) {
  EXPECT_NE(find_flop_formula("aten::mm"), nullptr);
  EXPECT_EQ(find_flop_formula("aten::mm.out"), nullptr);
  EXPECT_EQ(find_flop_formula("aten::add"), nullptr);
  EXPECT_EQ(find_flop_formula(""), nullptr);
}

// The formulas name arguments; a row whose operator or argument is called otherwise would count nothing, or throw.
TEST(FlopFormula, EveryRowNamesAnOperatorAndItsArguments) {
  kernels::find_operator("attention");  // registers ours
  int64_t num_rows = 0;
  for (const char* const name :
       {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_mm", "aten::_scaled_mm_v2",
        "aten::_scaled_dot_product_flash_attention", "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_cudnn_attention",
        "aten::_scaled_dot_product_flash_attention_backward",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
        "aten::_scaled_dot_product_efficient_attention_backward", "aten::_scaled_dot_product_cudnn_attention_backward",
        "titan::attention", "titan::attention_backward"}) {
    const FlopFormula* const formula = find_flop_formula(name);
    ASSERT_NE(formula, nullptr) << name;
    const auto operator_handle = c10::Dispatcher::singleton().findSchema({name, ""});
    ASSERT_TRUE(operator_handle.has_value()) << name;
    const c10::FunctionSchema& schema = operator_handle->schema();
    std::vector<std::string_view> arguments{formula->left, formula->right};
    if (formula->is_attention()) arguments = {"query", "key", "value", "is_causal"};
    if (formula->is_own) arguments.insert(arguments.end(), {"query_offset", "window", "first_key"});
    for (const std::string_view argument : arguments) {
      EXPECT_TRUE(schema.argumentIndexWithName(argument).has_value()) << name << " " << argument;
    }
    ++num_rows;
  }
  EXPECT_EQ(num_rows, 16);
}

}  // namespace
}  // namespace titan::profiling
