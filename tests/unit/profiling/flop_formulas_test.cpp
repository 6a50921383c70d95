#include "titan/profiling/flop_formulas.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

namespace titan::profiling {
namespace {

TEST(NumAttendedPairs, CausalIsTheLowerTriangle) {
  EXPECT_EQ(num_attended_pairs(5, 7, /*causal=*/false), 35);
  EXPECT_EQ(num_attended_pairs(4, 4, /*causal=*/true), 1 + 2 + 3 + 4);
  EXPECT_EQ(num_attended_pairs(3, 5, /*causal=*/true), 1 + 2 + 3);
  EXPECT_EQ(num_attended_pairs(5, 3, /*causal=*/true), 1 + 2 + 3 + 3 + 3);
  EXPECT_EQ(num_attended_pairs(0, 3, /*causal=*/true), 0);
}

TEST(FlopFormula, LooksAtTheNameWithoutItsOverload) {
  EXPECT_NE(find_flop_formula("aten::mm"), nullptr);
  EXPECT_EQ(find_flop_formula("aten::mm.out"), nullptr);
  EXPECT_EQ(find_flop_formula("aten::add"), nullptr);
  EXPECT_EQ(find_flop_formula(""), nullptr);
}

// The formulas name arguments; a row whose operator or argument is called otherwise would count nothing, or throw.
TEST(FlopFormula, EveryRowNamesAnOperatorOfAtenAndItsArguments) {
  int64_t num_rows = 0;
  for (const char* const name :
       {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_mm", "aten::_scaled_mm_v2",
        "aten::_scaled_dot_product_flash_attention", "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_cudnn_attention",
        "aten::_scaled_dot_product_flash_attention_backward",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
        "aten::_scaled_dot_product_efficient_attention_backward",
        "aten::_scaled_dot_product_cudnn_attention_backward"}) {
    const FlopFormula* const formula = find_flop_formula(name);
    ASSERT_NE(formula, nullptr) << name;
    const auto operator_handle = c10::Dispatcher::singleton().findSchema({name, ""});
    ASSERT_TRUE(operator_handle.has_value()) << name;
    const c10::FunctionSchema& schema = operator_handle->schema();
    const auto arguments = formula->is_attention() ? std::vector<std::string_view>{"query", "key", "value", "is_causal"}
                                                   : std::vector<std::string_view>{formula->left, formula->right};
    for (const std::string_view argument : arguments) {
      EXPECT_TRUE(schema.argumentIndexWithName(argument).has_value()) << name << " " << argument;
    }
    ++num_rows;
  }
  EXPECT_EQ(num_rows, 14);
}

}  // namespace
}  // namespace titan::profiling
