// What the model of this rank gets of a batch: all of it, or, where several ranks share a sequence, the tokens that are
// this rank's. The one place where sequences are cut: whatever comes later works on what it is given.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "titan/models/forward_backward.h"

namespace titan::data {
struct Batch;
}

namespace titan::train {

// own_tokens: as models::Parallelized has it; null: all. Where the batch tells documents apart, positions and attention
// begin anew with each.
models::TokenBatch model_input(const data::Batch& batch, const std::function<at::Tensor(int64_t seq_len)>& own_tokens);

// The same on `device`; enqueues, does not wait.
models::TokenBatch upload(const models::TokenBatch& input, at::Device device);

}  // namespace titan::train
