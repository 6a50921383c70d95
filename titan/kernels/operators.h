// The operators of ours as ATen's dispatcher knows them, "titan::<name>": schemas and CPU kernels are registered here,
// CUDA kernels by libtitan_cuda.so (cuda_operators.cpp). A *_composite is made of ATen's operators: the reference of
// the others, and what runs where there is none (on the meta device, on a GPU). Callers use each operator's own header.
//
// [Note: gradients of own operators]
// The public function of an operator with a gradient applies a torch::autograd::Function, whose two halves call
// operators (<name>, <name>_backward) below autograd. So DTensors and modes, which interpose there, see both.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace c10 {
class OperatorHandle;
}

namespace titan::kernels {

// Registers all of them at the first call. `name` without "titan::".
c10::OperatorHandle find_operator(const char* name);

// For a backward: throws c10::NotImplementedError if the gradient itself is to be differentiated.
void require_first_derivative(const char* name);

// --- kernels, by device; contracts stand in the operators' headers ---

at::Tensor sum_of_squares_cpu(at::TensorList tensors);
at::Tensor sum_of_squares_cuda(at::TensorList tensors);

at::Tensor& random_normal_cpu(at::Tensor& x, int64_t seed, int64_t stream, double mean, double std, double low,
                              double high, at::IntArrayRef whole, at::IntArrayRef offsets);
at::Tensor& random_normal_cuda(at::Tensor& x, int64_t seed, int64_t stream, double mean, double std, double low,
                               double high, at::IntArrayRef whole, at::IntArrayRef offsets);

std::tuple<at::Tensor, at::Tensor> rms_norm_cpu(const at::Tensor& x, const at::Tensor& weight, double eps);
std::tuple<at::Tensor, at::Tensor> rms_norm_composite(const at::Tensor& x, const at::Tensor& weight, double eps);
std::tuple<at::Tensor, at::Tensor> rms_norm_backward_cpu(const at::Tensor& grad, const at::Tensor& x,
                                                         const at::Tensor& weight, const at::Tensor& rstd);
std::tuple<at::Tensor, at::Tensor> rms_norm_backward_composite(const at::Tensor& grad, const at::Tensor& x,
                                                               const at::Tensor& weight, const at::Tensor& rstd);

std::tuple<at::Tensor, at::Tensor, at::Tensor> rms_norm_of_sum_cpu(const at::Tensor& x, const at::Tensor& delta,
                                                                   const at::Tensor& weight, double eps);
std::tuple<at::Tensor, at::Tensor, at::Tensor> rms_norm_of_sum_composite(const at::Tensor& x, const at::Tensor& delta,
                                                                         const at::Tensor& weight, double eps);
std::tuple<at::Tensor, at::Tensor> rms_norm_of_sum_backward_cpu(const at::Tensor& grad_sum, const at::Tensor& grad,
                                                                const at::Tensor& sum, const at::Tensor& weight,
                                                                const at::Tensor& rstd);
std::tuple<at::Tensor, at::Tensor> rms_norm_of_sum_backward_composite(const at::Tensor& grad_sum,
                                                                      const at::Tensor& grad, const at::Tensor& sum,
                                                                      const at::Tensor& weight, const at::Tensor& rstd);

std::tuple<at::Tensor, at::Tensor> attention_cpu(const at::Tensor& query, const at::Tensor& key,
                                                 const at::Tensor& value, const std::optional<at::Tensor>& first_key,
                                                 const std::optional<at::Tensor>& query_starts,
                                                 const std::optional<at::Tensor>& key_starts, int64_t longest_segment,
                                                 bool is_causal, int64_t query_offset, int64_t window, double scale);
std::tuple<at::Tensor, at::Tensor> attention_composite(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& first_key,
    const std::optional<at::Tensor>& query_starts, const std::optional<at::Tensor>& key_starts, int64_t longest_segment,
    bool is_causal, int64_t query_offset, int64_t window, double scale);
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_cpu(
    const at::Tensor& grad_out, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& out, const at::Tensor& logsumexp, const std::optional<at::Tensor>& first_key,
    const std::optional<at::Tensor>& query_starts, const std::optional<at::Tensor>& key_starts, int64_t longest_segment,
    bool is_causal, int64_t query_offset, int64_t window, double scale);
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_composite(
    const at::Tensor& grad_out, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& out, const at::Tensor& logsumexp, const std::optional<at::Tensor>& first_key,
    const std::optional<at::Tensor>& query_starts, const std::optional<at::Tensor>& key_starts, int64_t longest_segment,
    bool is_causal, int64_t query_offset, int64_t window, double scale);

at::Tensor swiglu_cpu(const at::Tensor& gate, const at::Tensor& up);
at::Tensor swiglu_composite(const at::Tensor& gate, const at::Tensor& up);
std::tuple<at::Tensor, at::Tensor> swiglu_backward_cpu(const at::Tensor& grad, const at::Tensor& gate,
                                                       const at::Tensor& up);
std::tuple<at::Tensor, at::Tensor> swiglu_backward_composite(const at::Tensor& grad, const at::Tensor& gate,
                                                             const at::Tensor& up);

at::Tensor rotary_cpu(const at::Tensor& x, const at::Tensor& turns, bool halves, bool back);
at::Tensor rotary_composite(const at::Tensor& x, const at::Tensor& turns, bool halves, bool back);

std::tuple<at::Tensor, at::Tensor, at::Tensor> logit_rows_cpu(const at::Tensor& logits, const at::Tensor& labels,
                                                              int64_t first, int64_t vocabulary, int64_t ignore_index);
std::tuple<at::Tensor, at::Tensor, at::Tensor> logit_rows_composite(const at::Tensor& logits, const at::Tensor& labels,
                                                                    int64_t first, int64_t vocabulary,
                                                                    int64_t ignore_index);
at::Tensor& logit_gradient_cpu(at::Tensor& logits, const at::Tensor& labels, const at::Tensor& largest,
                               const at::Tensor& sum, int64_t first, int64_t ignore_index, double scale);
at::Tensor& logit_gradient_composite(at::Tensor& logits, const at::Tensor& labels, const at::Tensor& largest,
                                     const at::Tensor& sum, int64_t first, int64_t ignore_index, double scale);

}  // namespace titan::kernels
