// The kernels of titan::attention and titan::attention_backward: on the CPU loops of ours, on a GPU ATen's flash
// kernels where they can (attention_flash.h), else a composite.
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>

#include <limits>

#include "titan/kernels/attention.h"
#include "titan/kernels/attention_flash.h"
#include "titan/kernels/cpu/attention.h"
#include "titan/kernels/cpu/loops.h"
#include "titan/kernels/cpu/matrix_unit.h"
#include "titan/kernels/operators.h"
#include "titan/kernels/work_memory.h"

namespace titan::kernels {
namespace {

constexpr double kUnseen = -std::numeric_limits<double>::infinity();

struct Operands {
  const at::Tensor &query, &key, &value;
  const std::optional<at::Tensor>&first_key, &query_starts, &key_starts;
  int64_t longest_segment;
  bool is_causal;
  int64_t query_offset, window;
  double scale;

  int64_t group() const { return query.size(2) / std::max<int64_t>(key.size(2), 1); }
  FlashMask flash_mask() const {
    return {
        is_causal, window, {query_starts.value_or(at::Tensor()), key_starts.value_or(at::Tensor()), longest_segment}};
  }
  bool is_empty() const { return query.numel() == 0 || key.numel() == 0 || value.numel() == 0; }
};

void check(const Operands& x) {
  TORCH_CHECK_VALUE(x.query.dim() == 4 && x.key.dim() == 4 && x.value.dim() == 4 && x.query.size(0) == x.key.size(0) &&
                        x.query.size(3) == x.key.size(3) && x.key.sizes().slice(0, 3) == x.value.sizes().slice(0, 3) &&
                        (x.key.size(2) == 0 ? x.query.size(2) == 0 : x.query.size(2) % x.key.size(2) == 0),
                    "attention: expected query [batch, query_len, heads, width], key [batch, key_len, kv_heads, width] "
                    "and value [batch, key_len, kv_heads, value_width], kv_heads dividing heads, got ",
                    x.query.sizes(), ", ", x.key.sizes(), " and ", x.value.sizes());
  TORCH_CHECK_VALUE(x.query.scalar_type() == x.key.scalar_type() && x.query.scalar_type() == x.value.scalar_type(),
                    "attention: expected one dtype, got ", x.query.scalar_type(), ", ", x.key.scalar_type(), " and ",
                    x.value.scalar_type());
  TORCH_CHECK_VALUE(x.scale > 0, "attention: expected a scale above 0, got ", x.scale);
  TORCH_CHECK_VALUE(x.window >= 0 && (x.window == 0 || x.is_causal),
                    "attention: expected a window of at least 0, and 0 where attention is not causal, got ", x.window);
  TORCH_CHECK_VALUE(!x.first_key.has_value() || (x.first_key->scalar_type() == at::kLong &&
                                                 x.first_key->sizes() == x.query.sizes().slice(0, 2)),
                    "attention: expected first_key [batch, query_len] int64, got ",
                    x.first_key.has_value() ? x.first_key->sizes() : at::IntArrayRef(), " of another shape or dtype");
  const auto is_starts = [&](const std::optional<at::Tensor>& starts) {
    return starts.has_value() && starts->scalar_type() == at::kInt && starts->dim() == 2 &&
           starts->size(0) == x.query.size(0);
  };
  TORCH_CHECK_VALUE(
      (!x.query_starts.has_value() && !x.key_starts.has_value()) ||
          (x.first_key.has_value() && is_starts(x.query_starts) && is_starts(x.key_starts) &&
           x.query_starts->sizes() == x.key_starts->sizes() && x.longest_segment > 0),
      "attention: expected segments only with first_key: two [batch, segments] int32 and their longest, above 0");
}

// Out and the log-sum-exp, not initialised.
std::tuple<at::Tensor, at::Tensor> empty_outputs(const Operands& x) {
  const at::Tensor& query = x.query;
  return {at::empty({query.size(0), query.size(1), query.size(2), x.value.size(3)}, query.options()),
          at::empty({query.size(0), query.size(2), query.size(1)},
                    query.options().dtype(at::toOpMathType(query.scalar_type())))};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> empty_gradients(const Operands& x) {
  return {at::empty(x.query.sizes(), x.query.options()), at::empty(x.key.sizes(), x.key.options()),
          at::empty(x.value.sizes(), x.value.options())};
}

// --- the composite ---

// [batch, seq, heads, width] -> [batch, heads, seq, width] in the dtype to compute in, a head for each query head.
at::Tensor by_head(const at::Tensor& x, int64_t group = 1) {
  const at::Tensor heads = x.transpose(1, 2).to(at::toOpMathType(x.scalar_type()));
  return group == 1 ? heads : heads.repeat_interleave(group, 1);
}

// [batch, heads, query_len, key_len], -infinity where a key is not seen.
at::Tensor scores_of(const Operands& x) {
  const auto options = x.query.options().dtype(at::kLong);
  const at::Tensor keys = at::arange(x.key.size(1), options);
  const at::Tensor positions = (at::arange(x.query.size(1), options) + x.query_offset).unsqueeze(-1);
  at::Tensor seen = at::ones({x.query.size(1), x.key.size(1)}, options.dtype(at::kBool));
  if (x.is_causal) seen = keys <= positions;
  if (x.window > 0) seen = seen & (keys > positions - x.window);
  if (x.first_key.has_value()) seen = (seen & (keys >= x.first_key->unsqueeze(-1))).unsqueeze(1);
  const at::Tensor products = at::matmul(by_head(x.query), by_head(x.key, x.group()).transpose(-1, -2));
  return at::where(seen, products * x.scale, kUnseen);
}

// exp(scores - logsumexp), 0 for queries that see nothing.
at::Tensor weights_of(const at::Tensor& scores, const at::Tensor& logsumexp) {
  const at::Tensor base = at::where(logsumexp == kUnseen, 0.0, logsumexp);
  return at::exp(scores - base.unsqueeze(-1));
}

// [batch, kv_heads * group, seq, width] -> [batch, seq, kv_heads, width], the sum over each group.
at::Tensor of_kv_heads(const at::Tensor& x, const at::Tensor& like) {
  const int64_t kv_heads = like.size(2);
  return x.unflatten(1, {kv_heads, x.size(1) / kv_heads}).sum(2).transpose(1, 2).to(like.scalar_type()).contiguous();
}

// --- the loops ---

bool has_loops(at::ScalarType dtype) { return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf; }

const cpu::AttentionLoops& loops_for(at::ScalarType dtype) {
#if defined(__x86_64__)
  if (dtype == at::kBFloat16 && cpu::has_matrix_unit()) {
    static const cpu::AttentionLoops of_matrix_unit = cpu::amx_attention_loops();
    return of_matrix_unit;
  }
#endif
  return cpu::loops<cpu::AttentionLoops>();
}

at::Tensor with_contiguous_rows(const at::Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

cpu::HeadRows<const void> rows_of(const at::Tensor& x) {
  return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}
cpu::HeadRows<void> writable_rows_of(const at::Tensor& x) {
  return {x.mutable_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

// The tensors that a problem points into.
struct Prepared {
  explicit Prepared(const Operands& x)
      : query(with_contiguous_rows(x.query)), key(with_contiguous_rows(x.key)), value(with_contiguous_rows(x.value)) {
    if (x.first_key.has_value()) first_key = x.first_key->contiguous();
    problem = {.dtype = query.scalar_type(),
               .batch = query.size(0),
               .heads = query.size(2),
               .kv_heads = key.size(2),
               .query_len = query.size(1),
               .key_len = key.size(1),
               .width = query.size(3),
               .value_width = value.size(3),
               .query = rows_of(query),
               .key = rows_of(key),
               .value = rows_of(value),
               .scale = static_cast<float>(x.scale),
               .is_causal = x.is_causal,
               .query_offset = x.query_offset,
               .window = x.window,
               .first_key = first_key.defined() ? first_key.const_data_ptr<int64_t>() : nullptr};
  }

  at::Tensor query, key, value, first_key;
  cpu::AttentionProblem problem;
};

// Calls run(task, memory) for each task, on all threads.
template <class F>
void run_tasks(int64_t num_tasks, int64_t memory_size, F&& run) {
  at::parallel_for(0, num_tasks, 1, [&](int64_t begin, int64_t end) {
    const WorkMemory memory(memory_size);
    for (int64_t task = begin; task < end; ++task) run(task, memory.data());
  });
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> attention_composite(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& first_key,
    const std::optional<at::Tensor>& query_starts, const std::optional<at::Tensor>& key_starts, int64_t longest_segment,
    bool is_causal, int64_t query_offset, int64_t window, double scale) {
  const Operands x{query,           key,       value,        first_key, query_starts, key_starts,
                   longest_segment, is_causal, query_offset, window,    scale};
  check(x);
  if (query.is_meta()) return empty_outputs(x);
  const FlashMask mask = x.flash_mask();
  if (fits_flash(query, key, value, mask, first_key.has_value(), query_offset)) {
    return attention_flash(query, key, value, mask, scale);
  }
  const at::Tensor scores = scores_of(x);
  const at::Tensor logsumexp = at::logsumexp(scores, -1);
  const at::Tensor out = at::matmul(weights_of(scores, logsumexp), by_head(value, x.group()));
  return {out.transpose(1, 2).to(query.scalar_type()).contiguous(), logsumexp};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_composite(
    const at::Tensor& grad_out, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& out, const at::Tensor& logsumexp, const std::optional<at::Tensor>& first_key,
    const std::optional<at::Tensor>& query_starts, const std::optional<at::Tensor>& key_starts, int64_t longest_segment,
    bool is_causal, int64_t query_offset, int64_t window, double scale) {
  const Operands x{query,           key,       value,        first_key, query_starts, key_starts,
                   longest_segment, is_causal, query_offset, window,    scale};
  check(x);
  if (query.is_meta()) return empty_gradients(x);
  const FlashMask mask = x.flash_mask();
  if (fits_flash(query, key, value, mask, first_key.has_value(), query_offset)) {
    return attention_flash_backward(grad_out, query, key, value, out, logsumexp, mask, scale);
  }
  const at::Tensor weights = weights_of(scores_of(x), logsumexp), grad = by_head(grad_out);
  const at::Tensor dots = (grad * by_head(out)).sum(-1, /*keepdim=*/true);
  const at::Tensor grad_weights = at::matmul(grad, by_head(value, x.group()).transpose(-1, -2));
  const at::Tensor grad_scores = weights * (grad_weights - dots) * scale;
  const at::Tensor grad_query = at::matmul(grad_scores, by_head(key, x.group()));
  return {grad_query.transpose(1, 2).to(query.scalar_type()).contiguous(),
          of_kv_heads(at::matmul(grad_scores.transpose(-1, -2), by_head(query)), key),
          of_kv_heads(at::matmul(weights.transpose(-1, -2), grad), value)};
}

std::tuple<at::Tensor, at::Tensor> attention_cpu(const at::Tensor& query, const at::Tensor& key,
                                                 const at::Tensor& value, const std::optional<at::Tensor>& first_key,
                                                 const std::optional<at::Tensor>& query_starts,
                                                 const std::optional<at::Tensor>& key_starts, int64_t longest_segment,
                                                 bool is_causal, int64_t query_offset, int64_t window, double scale) {
  const Operands x{query,           key,       value,        first_key, query_starts, key_starts,
                   longest_segment, is_causal, query_offset, window,    scale};
  check(x);
  if (!has_loops(query.scalar_type())) {
    return attention_composite(query, key, value, first_key, query_starts, key_starts, longest_segment, is_causal,
                               query_offset, window, scale);
  }
  auto [out, logsumexp] = empty_outputs(x);
  if (x.is_empty()) return {out.zero_(), logsumexp.fill_(kUnseen)};
  const Prepared prepared(x);
  const cpu::AttentionLoops& loops = loops_for(query.scalar_type());
  const cpu::AttentionOutputs outputs{writable_rows_of(out), logsumexp.mutable_data_ptr<float>()};
  run_tasks(loops.num_forward_tasks(prepared.problem), loops.forward_memory(prepared.problem),
            [&](int64_t task, std::byte* memory) { loops.forward(prepared.problem, outputs, task, memory); });
  return {out, logsumexp};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_cpu(
    const at::Tensor& grad_out, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& out, const at::Tensor& logsumexp, const std::optional<at::Tensor>& first_key,
    const std::optional<at::Tensor>& query_starts, const std::optional<at::Tensor>& key_starts, int64_t longest_segment,
    bool is_causal, int64_t query_offset, int64_t window, double scale) {
  const Operands x{query,           key,       value,        first_key, query_starts, key_starts,
                   longest_segment, is_causal, query_offset, window,    scale};
  check(x);
  if (!has_loops(query.scalar_type())) {
    return attention_backward_composite(grad_out, query, key, value, out, logsumexp, first_key, query_starts,
                                        key_starts, longest_segment, is_causal, query_offset, window, scale);
  }
  auto [grad_query, grad_key, grad_value] = empty_gradients(x);
  if (x.is_empty()) return {grad_query.zero_(), grad_key.zero_(), grad_value.zero_()};
  const Prepared prepared(x);
  const at::Tensor grad_rows = with_contiguous_rows(grad_out), out_rows = with_contiguous_rows(out);
  const at::Tensor logsumexp_rows = logsumexp.contiguous();
  const cpu::AttentionLoops& loops = loops_for(query.scalar_type());
  const cpu::AttentionGradients gradients{.grad_out = rows_of(grad_rows),
                                          .out = rows_of(out_rows),
                                          .logsumexp = logsumexp_rows.const_data_ptr<float>(),
                                          .query = writable_rows_of(grad_query),
                                          .key = writable_rows_of(grad_key),
                                          .value = writable_rows_of(grad_value)};
  run_tasks(loops.num_backward_tasks(prepared.problem), loops.backward_memory(prepared.problem),
            [&](int64_t task, std::byte* memory) { loops.backward(prepared.problem, gradients, task, memory); });
  return {grad_query, grad_key, grad_value};
}

}  // namespace titan::kernels
