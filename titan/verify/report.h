// Judges what the ranks of a layout found. Tolerances, all relative and per tensor: 0 where nothing is computed in
// another order; 1e-6 for data parallelism, pipelines and accumulation, 1e-5 for tensor and context parallelism.
// Parameters have besides what Adam makes of the gradients' own difference: [Note: Adam's slack].
// Losses of free runs: 2e-6 and 1e-5.
// In bf16, everything may differ from fp32 by 1.5 times what bf16 on one device does; there all gradients, and all
// parameters, count as one vector. Tensor by tensor that would be a throw of dice: Adam's first step moves each
// element by the sign of its gradient, and in a tensor of a few hundred elements one sign that rounding turns is more
// than all other differences together.
#pragma once

#include <string>
#include <vector>

#include "titan/verify/layout.h"
#include "titan/verify/record.h"

namespace titan::verify {

struct Verdict {
  bool holds = false;
  std::string first_parting;       // what parts first and how far; empty if everything holds
  std::vector<std::string> lines;  // the report of this layout
};

// `ranks`: the layout's, by rank; `reference` in fp32 on one device. `bf16_baseline`: of a layout in bf16, how far bf16
// on one device is from the reference; null in fp32.
Verdict judge(const Layout& layout, const std::vector<Comparison>& ranks, const Comparison& reference,
              const Comparison* bf16_baseline);

}  // namespace titan::verify
