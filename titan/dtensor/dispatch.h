// Calls of operators that have a DTensor among their arguments: finds the plan, runs it. Private to titan/dtensor.
#pragma once

#include <ATen/core/stack.h>

namespace c10 {
class OperatorHandle;
}

namespace titan::dtensor {

bool has_dtensor_argument(const c10::OperatorHandle& op, const torch::jit::Stack& stack);

void dispatch(const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace titan::dtensor
