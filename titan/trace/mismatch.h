// Operations that met under one number and do not fit: other shapes, other operations, another order.
#pragma once

#include <optional>
#include <vector>

#include "titan/trace/verdict.h"

namespace titan::trace {

// The first of each channel, in the order of time.
std::vector<Verdict> find_mismatches(const RanksTogether& ranks);

}  // namespace titan::trace
