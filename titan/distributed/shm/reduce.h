// Elementwise reduction of several ranks' numbers, always in the order of ranks, so that the result is the same bits
// on every rank and in every run. Half precision is added up in fp32 and rounded once.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "titan/distributed/collectives.h"

namespace titan::distributed::shm {

class Reducer {
 public:
  // kSum, kMax or kMin of a number; bool has kMax and kMin, complex has kSum. Throws c10::ValueError for others.
  // A NaN among the numbers is the maximum and the minimum.
  Reducer(ReduceOp op, c10::ScalarType dtype);

  // `output`, `bytes` long, from inputs of that length, by rank. It may be one of them.
  void operator()(std::byte* output, const std::vector<const std::byte*>& inputs, int64_t bytes) const {
    function_(output, inputs, bytes);
  }

 private:
  using Function = void (*)(std::byte* output, const std::vector<const std::byte*>& inputs, int64_t bytes);
  Function function_;
};

}  // namespace titan::distributed::shm
