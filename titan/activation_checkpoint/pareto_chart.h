// Run time against memory for every budget, as an SVG picture: what activation checkpointing with a memory budget can
// choose from.
#pragma once

#include <string>

#include "titan/activation_checkpoint/memory_budget.h"

namespace titan::activation_checkpoint {

// Budgets 0, 0.05, ... 1 of the block's plain memory; `budget` is marked.
std::string pareto_chart(const BlockProfile& profile, double budget);

}  // namespace titan::activation_checkpoint
