// What a reduction over ranks means for a dtype, where backends do not reduce it themselves: which dtypes can be
// reduced how, what goes over the wire for the others, and the division of an average.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "titan/distributed/collectives.h"

namespace titan::distributed {

// "sum", "avg", "max", "min".
const char* name_of(ReduceOp op);

class Reduction {
 public:
  // Throws c10::ValueError, starting with `name`, for a dtype that has no such reduction.
  Reduction(const char* name, ReduceOp op, at::ScalarType dtype, int64_t group_size);

  // x in a dtype that backends reduce; x itself if it is. Complex numbers get a last dimension of 2.
  at::Tensor encode(const at::Tensor& x) const;
  // The result out of what the backend reduced, which may be overwritten.
  at::Tensor decode(const at::Tensor& reduced) const;

 private:
  ReduceOp op_;
  at::ScalarType dtype_;
  int64_t group_size_;
};

}  // namespace titan::distributed
