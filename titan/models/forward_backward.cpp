#include "titan/models/forward_backward.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <utility>

namespace titan::models {

TokenBatch samples_of(const TokenBatch& batch, int64_t begin, int64_t size) {
  // What all samples have in common has no dimension for them.
  const auto of = [&](const at::Tensor& x) { return x.defined() && x.dim() > 1 ? x.narrow(0, begin, size) : x; };
  const nn::Documents& documents = batch.places.documents;
  return {.tokens = of(batch.tokens),
          .labels = of(batch.labels),
          .places = {.positions = of(batch.places.positions),
                     .documents = {of(documents.first_key), of(documents.starts), documents.longest}}};
}

MicrobatchLoop::MicrobatchLoop(std::shared_ptr<LanguageModel> model, StepHooks hooks)
    : model_(std::move(model)), hooks_(std::move(hooks)) {}

at::Tensor MicrobatchLoop::train(std::span<const TokenBatch> batches, const LossFunction& loss_of) {
  at::Tensor sum = at::zeros({}, batches.front().tokens.options().dtype(at::kDouble));
  for (size_t i = 0; i < batches.size(); ++i) {
    hooks_.before_microbatch(/*last=*/i + 1 == batches.size());
    const at::Tensor hidden = (*model_)(batches[i].tokens, batches[i].places);
    const at::Tensor loss = loss_of(hidden, batches[i].labels, *model_->output_layer());
    loss.backward();
    sum += loss.detach();
  }
  hooks_.after_backward();
  return sum;
}

at::Tensor MicrobatchLoop::evaluate(const TokenBatch& batch, const LossFunction& loss_of) {
  const at::NoGradGuard no_grad;
  return loss_of((*model_)(batch.tokens, batch.places), batch.labels, *model_->output_layer()).to(at::kDouble);
}

}  // namespace titan::models
