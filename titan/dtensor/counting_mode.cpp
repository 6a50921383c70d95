#include "titan/dtensor/counting_mode.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace titan::dtensor {

void CountingMode::call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) {
  const c10::OperatorName& name = op.operator_name();
  ++counts_[name.overload_name.empty() ? name.name : name.name + "." + name.overload_name];
  proceed(op, keys, stack);
}

}  // namespace titan::dtensor
