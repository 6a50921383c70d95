// The page of operators that have a sharding rule: docs/dtensor_ops.md.
#pragma once

#include <string>

namespace titan::dtensor {

// Markdown: one section per family, in the order of the alphabet.
std::string operator_list();

}  // namespace titan::dtensor
