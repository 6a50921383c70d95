#include "titan/train/model_input.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include "titan/data/data_loader.h"
#include "titan/device/transfer.h"

namespace titan::train {

models::TokenBatch model_input(const data::Batch& batch, const std::function<at::Tensor(int64_t seq_len)>& own_tokens) {
  const int64_t seq_len = batch.input.size(1);
  const at::Tensor own = own_tokens ? own_tokens(seq_len) : at::Tensor();
  const auto part = [&](const at::Tensor& whole) { return own.defined() ? whole.index_select(1, own) : whole; };
  models::TokenBatch input{.tokens = part(batch.input), .labels = part(batch.labels), .places = {.positions = own}};
  if (batch.document_starts.defined()) {
    const at::Tensor starts = part(batch.document_starts);
    input.places.positions = (own.defined() ? own : at::arange(seq_len, at::kLong)) - starts;
    const kernels::Segments segments = kernels::document_segments(starts);
    input.places.documents = {starts, segments.query_starts, segments.longest};
  }
  return input;
}

models::TokenBatch upload(const models::TokenBatch& input, at::Device device) {
  const auto there = [&](const at::Tensor& x) { return x.defined() ? device::upload(x, device) : x; };
  const nn::Documents& documents = input.places.documents;
  return {.tokens = there(input.tokens),
          .labels = there(input.labels),
          .places = {.positions = there(input.places.positions),
                     .documents = {there(documents.first_key), there(documents.starts), documents.longest}}};
}

}  // namespace titan::train
