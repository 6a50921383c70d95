// The loops of titan::logit_rows and titan::logit_gradient_ (cross_entropy.h).
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace titan::kernels::cpu {

struct LogitCall {
  at::ScalarType dtype;  // of logits: float32, bfloat16 or float16
  int64_t num_columns;
  int64_t row_stride;  // elements
  const int64_t* labels;
  int64_t first;  // column 0's label
  int64_t ignore_index;
};

struct CrossEntropyLoops {
  void (*rows)(const LogitCall& call, const void* logits, float* largest, float* sum, float* label_logit,
               int64_t begin_row, int64_t end_row);
  void (*gradient)(const LogitCall& call, void* logits, const float* largest, const float* sum, float scale,
                   int64_t begin_row, int64_t end_row);
};

}  // namespace titan::kernels::cpu
