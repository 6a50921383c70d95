// -log softmax(logits)[label] for each row, and its gradient, in the rows' own memory: one buffer of logits is all
// there is. In two halves, because where the vocabulary is spread over ranks they join what rows know in between.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace titan::kernels {

// Which columns of the whole logits a tensor has.
struct LogitColumns {
  int64_t first = 0;         // the first one's index in the vocabulary
  int64_t vocabulary = 0;    // columns of the whole
  int64_t ignore_index = 0;  // rows with this label have no loss and no gradient
};

// Of each row, float32: sum(exp(logits - largest)), and the label's logit, 0 where it is not in these columns. A row's
// loss is log(sum) + largest - label_logit. Of no columns: -inf, 0 and 0.
struct LogitRows {
  at::Tensor largest, sum, label_logit;  // [rows]
};

// logits: [rows, columns], floating; labels: [rows] int64. Throws c10::ValueError for a label that is neither in the
// vocabulary nor ignored; on a GPU its label_logit is NaN.
LogitRows logit_rows(const at::Tensor& logits, const at::Tensor& labels, const LogitColumns& columns);

// Overwrites logits with scale * (softmax - 1 at the label), 0 for ignored rows. `largest` and `sum` are those of whole
// rows. Leaves autograd alone: nobody may need the logits' values for a backward.
void logit_gradient_(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& largest,
                     const at::Tensor& sum, const LogitColumns& columns, double scale);

}  // namespace titan::kernels
