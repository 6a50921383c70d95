// Selective activation checkpointing by operator, with TorchTitan's choice: results that are dear to compute for their
// size are kept (matrix products, but only every second one, attention, and what ranks reduced or exchanged); norms,
// activations, rotations, casts and gathers run again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace titan::nn {
class Module;
}

namespace titan::activation_checkpoint {

class OperatorPolicy;

// [in features, out features]
using ProductShape = std::pair<int64_t, int64_t>;

// The shapes of the linear layers in `module` whose full name contains one of `fqn_parts`. Throws c10::ValueError if
// the name of a module that is no linear layer ends in one.
std::set<ProductShape> shapes_of_linears(nn::Module& module, const std::vector<std::string>& fqn_parts);

// Products whose second operand is shaped like one of `recomputed` are never kept, nor counted.
std::function<std::unique_ptr<OperatorPolicy>()> keep_dear_operators(std::set<ProductShape> recomputed);

// The operators that it keeps.
const std::vector<std::string>& dear_operators();

}  // namespace titan::activation_checkpoint
