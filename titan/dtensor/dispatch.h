// Calls of operators that have a DTensor among their arguments: finds the plan, runs it. Private to titan/dtensor.
#pragma once

#include <ATen/core/stack.h>

namespace c10 {
class OperatorHandle;
}

namespace titan::dtensor {

// Does the call, or returns false without having done anything: no argument is a DTensor.
bool dispatch(const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace titan::dtensor
