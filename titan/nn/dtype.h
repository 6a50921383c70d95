// The floating dtypes a config can name.
#pragma once

#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>

#include <string_view>

namespace titan::nn {

// "float32", "bfloat16" or "float16". Throws c10::ValueError for another name.
inline at::ScalarType dtype_from(std::string_view name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  TORCH_CHECK_VALUE(false, "dtype: expected float32, bfloat16 or float16, got '", name, "'");
}

}  // namespace titan::nn
