// Lists of strategies that several families of rules start from.
#pragma once

#include <optional>
#include <vector>

#include "titan/dtensor/call.h"

namespace titan::dtensor {

// One result, each of whose elements needs the elements at its place: every dimension of the result may be sharded,
// and operands with it unless they are broadcast along it.
std::vector<Strategy> elementwise(const Call& call);

// The dimension of `operand` that dimension `dim` of the result `sizes` is; none where it is broadcast along it.
std::optional<int64_t> broadcast_dim(const Operand& operand, at::IntArrayRef sizes, int64_t dim);

// Rule::outputs for those of them that do not run on the meta device: the broadcast shape, in the memory order of the
// first operand that has it, and the dtype that the operator makes of operands of one element.
std::vector<at::Tensor> elementwise_outputs(const Call& call);

// The dtypes of the results, by running the operator on the CPU with operands whose dimensions have one element.
std::vector<at::ScalarType> result_dtypes(const Call& call);

// The kinds of Partial among the operands that sums respect: P(sum), P(avg).
std::vector<Placement> sums(const Call& call);

// One tensor whose dimensions map_dims[i] of the result are dimensions i of the operand (-1: none), all else being
// whole. Partials of any kind go through.
std::vector<Strategy> dims_move(const Call& call, const std::vector<int64_t>& map_dims);

}  // namespace titan::dtensor
