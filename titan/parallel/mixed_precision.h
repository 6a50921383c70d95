// Mixed precision on one device: a module computes with copies of its parameters in a lower precision, made anew at
// each use, while the parameters themselves, their gradients and the optimizer stay as they are (Micikevicius et al.
// 2018, arXiv 1710.03740, section 3.1). Under FSDP the all-gather makes these copies instead.
#pragma once

#include <c10/core/ScalarType.h>

namespace titan::nn {
class Module;
}

namespace titan::parallel {

// From the next call on, `module` and its descendants compute with copies in `dtype`. Gradients pass the cast and are
// accumulated in the parameters' own dtype. Activations follow the parameters' dtype.
void apply_mixed_precision(nn::Module& module, at::ScalarType dtype);

}  // namespace titan::parallel
