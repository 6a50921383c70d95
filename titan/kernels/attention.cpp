#include "titan/kernels/attention.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

using Forward = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                   const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
                                                   const std::optional<at::Tensor>&, int64_t, bool, int64_t, int64_t,
                                                   double);
using Backward = std::tuple<at::Tensor, at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                                const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                                const std::optional<at::Tensor>&,
                                                                const std::optional<at::Tensor>&,
                                                                const std::optional<at::Tensor>&, int64_t, bool,
                                                                int64_t, int64_t, double);

double scale_or_default(const std::optional<double>& scale, const at::Tensor& query) {
  return scale.has_value() ? *scale : 1.0 / std::sqrt(static_cast<double>(query.size(-1)));
}

std::optional<at::Tensor> optional_of(const at::Tensor& x) {
  return x.defined() ? std::optional<at::Tensor>(x) : std::nullopt;
}

struct Attention : torch::autograd::Function<Attention> {
  // The mask is one argument: first_key may be undefined, which apply() does not take as a tensor.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value, const AttentionMask& mask, double scale) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [out, logsumexp] = attention_forward(query, key, value, mask, scale);
    context->save_for_backward(
        {query, key, value, out, logsumexp, mask.first_key, mask.segments.query_starts, mask.segments.key_starts});
    context->saved_data["longest_segment"] = mask.segments.longest;
    context->saved_data["is_causal"] = mask.is_causal;
    context->saved_data["query_offset"] = mask.query_offset;
    context->saved_data["window"] = mask.window;
    context->saved_data["scale"] = scale;
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    require_first_derivative("attention");
    const auto saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const AttentionMask mask{context->saved_data["is_causal"].toBool(),
                             context->saved_data["query_offset"].toInt(),
                             context->saved_data["window"].toInt(),
                             saved[5],
                             {saved[6], saved[7], context->saved_data["longest_segment"].toInt()}};
    auto [query, key, value] = attention_backward(gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4], mask,
                                                  context->saved_data["scale"].toDouble());
    return {query, key, value, {}, {}};
  }
};

}  // namespace

at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const AttentionMask& mask,
                     std::optional<double> scale) {
  return Attention::apply(query, key, value, mask, scale_or_default(scale, query));
}

std::tuple<at::Tensor, at::Tensor> attention_forward(const at::Tensor& query, const at::Tensor& key,
                                                     const at::Tensor& value, const AttentionMask& mask,
                                                     std::optional<double> scale) {
  static const auto op = find_operator("attention").typed<Forward>();
  return op.call(query, key, value, optional_of(mask.first_key), optional_of(mask.segments.query_starts),
                 optional_of(mask.segments.key_starts), mask.segments.longest, mask.is_causal, mask.query_offset,
                 mask.window, scale_or_default(scale, query));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& grad_out, const at::Tensor& query,
                                                                  const at::Tensor& key, const at::Tensor& value,
                                                                  const at::Tensor& out, const at::Tensor& logsumexp,
                                                                  const AttentionMask& mask,
                                                                  std::optional<double> scale) {
  static const auto op = find_operator("attention_backward").typed<Backward>();
  return op.call(grad_out, query, key, value, out, logsumexp, optional_of(mask.first_key),
                 optional_of(mask.segments.query_starts), optional_of(mask.segments.key_starts), mask.segments.longest,
                 mask.is_causal, mask.query_offset, mask.window, scale_or_default(scale, query));
}

}  // namespace titan::kernels
