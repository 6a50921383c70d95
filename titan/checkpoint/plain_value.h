// Python values that need no class: what PyTorch's optimizers and schedulers keep beside tensors. They stand in a
// checkpoint as small pickles of their own.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace titan::checkpoint {

struct FloatTuple {
  std::vector<double> values;
};
struct FloatList {
  std::vector<double> values;
};
using PlainValue = std::variant<bool, int64_t, double, FloatTuple, FloatList>;

}  // namespace titan::checkpoint
