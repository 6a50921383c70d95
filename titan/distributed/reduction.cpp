#include "titan/distributed/reduction.h"

#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/view_as_real.h>
#include <c10/util/Exception.h>

namespace titan::distributed {
namespace {

bool can_reduce(ReduceOp op, at::ScalarType dtype) {
  const bool adds = op == ReduceOp::kSum || op == ReduceOp::kAvg;
  switch (dtype) {
    case at::kFloat:
    case at::kDouble:
    case at::kHalf:
    case at::kBFloat16:
      return true;
    case at::kLong:
    case at::kInt:
    case at::kShort:
    case at::kChar:
    case at::kByte:
      return op != ReduceOp::kAvg;
    case at::kBool:
      return !adds;
    case at::kComplexFloat:
    case at::kComplexDouble:
      return adds;
    default:
      return false;
  }
}

}  // namespace

const char* name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return "sum";
    case ReduceOp::kAvg:
      return "avg";
    case ReduceOp::kMax:
      return "max";
    case ReduceOp::kMin:
      return "min";
  }
  return "";
}

Reduction::Reduction(const char* name, ReduceOp op, at::ScalarType dtype, int64_t group_size)
    : op_(op), dtype_(dtype), group_size_(group_size) {
  TORCH_CHECK_VALUE(can_reduce(op, dtype), name, ": expected a dtype that has a ", name_of(op), ", got ", dtype,
                    "; convert it before");
}

at::Tensor Reduction::encode(const at::Tensor& x) const {
  if (dtype_ == at::kShort) return x.to(at::kInt);
  if (dtype_ == at::kBool) return x.to(at::kByte);
  if (at::isComplexType(dtype_)) return at::view_as_real(x.resolve_conj());
  return x;
}

at::Tensor Reduction::decode(const at::Tensor& reduced) const {
  if (op_ == ReduceOp::kAvg) reduced.div_(group_size_);
  if (at::isComplexType(dtype_)) return at::view_as_complex(reduced);
  return reduced.to(dtype_);
}

}  // namespace titan::distributed
