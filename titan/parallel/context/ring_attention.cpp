#include "titan/parallel/context/ring_attention.h"

#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <map>
#include <mutex>

#include "titan/parallel/context/merged_attention.h"

namespace titan::parallel {
namespace {

// --- rings by number ---

// Global, since an operator's kernel has nothing but its arguments. It owns none of them.
struct Rings {
  std::mutex mutex;
  std::map<int64_t, const Ring*> by_id;
  int64_t next_id = 0;
};

Rings& rings() {
  static Rings all;
  return all;
}

const Ring& ring_called(int64_t id) {
  const std::scoped_lock lock(rings().mutex);
  const auto found = rings().by_id.find(id);
  TORCH_INTERNAL_ASSERT(found != rings().by_id.end(), "the ring of an attention is gone");
  return *found->second;
}

// --- the two halves ---

at::Tensor rows_of(const at::Tensor& x, Rows rows) { return x.narrow(1, rows.begin, rows.size); }

// What an operator is told of documents: nn::Documents.
struct Documents {
  const std::optional<at::Tensor>&first_key, &starts;
  int64_t longest;
};

// The mask of a meeting, for its rows.
kernels::AttentionMask mask_of(const Meeting& meeting, const Documents& documents, int64_t key_rank,
                               const SequenceLayout& layout, int64_t local_len) {
  kernels::AttentionMask mask{.is_causal = meeting.is_causal};
  if (!documents.first_key.has_value()) return mask;
  mask.first_key =
      layout.num_keys_before(rows_of(*documents.first_key, meeting.queries), key_rank, meeting.keys, local_len);
  if (documents.starts.has_value()) {
    // A rank that meets itself has all its rows; all keys of another come before these queries.
    mask.segments = meeting.is_causal ? kernels::Segments{*documents.starts, *documents.starts, documents.longest}
                                      : kernels::reaching_segments(mask.first_key, meeting.keys.size);
  }
  return mask;
}

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                           const std::optional<at::Tensor>& first_key,
                                           const std::optional<at::Tensor>& starts, int64_t longest, double scale,
                                           int64_t ring_id) {
  const Ring& ring = ring_called(ring_id);
  const int64_t local_len = query.size(1);
  MergedAttention merged;
  const auto blocks = rotate(ring.rotation(), key, value, ring.group());
  while (const std::optional<KvBlock> block = blocks->next()) {
    const auto meeting = ring.layout().meeting(ring.group().rank(), block->rank, local_len);
    if (!meeting.has_value()) continue;
    const auto [out, logsumexp] = kernels::attention_forward(
        rows_of(query, meeting->queries), rows_of(block->key, meeting->keys), rows_of(block->value, meeting->keys),
        mask_of(*meeting, {first_key, starts, longest}, block->rank, ring.layout(), local_len), scale);
    merged.add(meeting->queries, out, logsumexp);
  }
  return {merged.out(query.scalar_type()), merged.logsumexp()};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& grad_out, const at::Tensor& query,
                                                        const at::Tensor& key, const at::Tensor& value,
                                                        const at::Tensor& out, const at::Tensor& logsumexp,
                                                        const std::optional<at::Tensor>& first_key,
                                                        const std::optional<at::Tensor>& starts, int64_t longest,
                                                        double scale, int64_t ring_id) {
  const Ring& ring = ring_called(ring_id);
  const int64_t local_len = query.size(1);
  at::Tensor grad_query;
  TravellingGradients travelling(key, value, ring.group());
  const auto blocks = rotate(ring.rotation(), key, value, ring.group());
  while (const std::optional<KvBlock> block = blocks->next()) {
    const auto meeting = ring.layout().meeting(ring.group().rank(), block->rank, local_len);
    if (!meeting.has_value()) {
      travelling.add({}, {}, {});
      continue;
    }
    const Rows &queries = meeting->queries, &keys = meeting->keys;
    const auto [of_query, of_key, of_value] = kernels::attention_backward(
        rows_of(grad_out, queries), rows_of(query, queries), rows_of(block->key, keys), rows_of(block->value, keys),
        rows_of(out, queries), logsumexp.narrow(2, queries.begin, queries.size),
        mask_of(*meeting, {first_key, starts, longest}, block->rank, ring.layout(), local_len), scale);
    // This rank's own block is the first, and meets all queries.
    if (!grad_query.defined()) {
      grad_query = of_query.to(at::toOpMathType(query.scalar_type()));
    } else {
      rows_of(grad_query, queries).add_(of_query);
    }
    travelling.add(keys, of_key, of_value);
  }
  const auto [grad_key, grad_value] = travelling.wait();
  return {grad_query.to(query.scalar_type()), grad_key.to(key.scalar_type()), grad_value.to(value.scalar_type())};
}

// On the meta device nothing is sent.
std::tuple<at::Tensor, at::Tensor> forward_shapes(const at::Tensor& query, const at::Tensor&, const at::Tensor& value,
                                                  const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
                                                  int64_t, double, int64_t) {
  return {at::empty({query.size(0), query.size(1), query.size(2), value.size(3)}, query.options()),
          at::empty({query.size(0), query.size(2), query.size(1)},
                    query.options().dtype(at::toOpMathType(query.scalar_type())))};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_shapes(
    const at::Tensor&, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor&,
    const at::Tensor&, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&, int64_t, double, int64_t) {
  return {at::empty_like(query), at::empty_like(key), at::empty_like(value)};
}

// --- as operators ---

torch::Library define_operators() {
  torch::Library library(torch::Library::FRAGMENT, "titan", std::nullopt, __FILE__, __LINE__);
  library.def(
      "ring_attention(Tensor query, Tensor key, Tensor value, Tensor? first_key, Tensor? starts, int longest, "
      "float scale, int ring) -> (Tensor out, Tensor logsumexp)");
  library.def(
      "ring_attention_backward(Tensor grad_out, Tensor query, Tensor key, Tensor value, Tensor out, Tensor logsumexp, "
      "Tensor? first_key, Tensor? starts, int longest, float scale, int ring) -> (Tensor grad_query, Tensor grad_key, "
      "Tensor grad_value)");
  return library;
}

torch::Library register_kernels() {
  torch::Library library(torch::Library::IMPL, "titan", c10::DispatchKey::CompositeExplicitAutograd, __FILE__,
                         __LINE__);
  library.impl("ring_attention", forward);
  library.impl("ring_attention_backward", backward);
  return library;
}

torch::Library register_shapes() {
  torch::Library library(torch::Library::IMPL, "titan", c10::DispatchKey::Meta, __FILE__, __LINE__);
  library.impl("ring_attention", forward_shapes);
  library.impl("ring_attention_backward", backward_shapes);
  return library;
}

// Registers them at the first call.
c10::OperatorHandle find_operator(const char* name) {
  static const torch::Library definitions = define_operators();
  static const torch::Library kernels = register_kernels();
  static const torch::Library shapes = register_shapes();
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

std::optional<at::Tensor> optional_of(const at::Tensor& x) {
  return x.defined() ? std::optional<at::Tensor>(x) : std::nullopt;
}

struct RingAttention : torch::autograd::Function<RingAttention> {
  // first_key may be undefined, which apply() does not take as a tensor: it comes in the mask.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value, const kernels::AttentionMask& mask, double scale,
                            int64_t ring_id) {
    static const auto op = find_operator("titan::ring_attention").typed<decltype(parallel::forward)>();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor& starts = mask.segments.query_starts;
    auto [out, logsumexp] = op.call(query, key, value, optional_of(mask.first_key), optional_of(starts),
                                    mask.segments.longest, scale, ring_id);
    context->save_for_backward({query, key, value, out, logsumexp, mask.first_key, starts});
    context->saved_data["longest"] = mask.segments.longest;
    context->saved_data["scale"] = scale;
    context->saved_data["ring"] = ring_id;
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    TORCH_CHECK_NOT_IMPLEMENTED(!at::GradMode::is_enabled(), "ring_attention: has no second derivative");
    static const auto op = find_operator("titan::ring_attention_backward").typed<decltype(parallel::backward)>();
    const auto saved = context->get_saved_variables();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [query, key, value] =
        op.call(gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4], optional_of(saved[5]),
                optional_of(saved[6]), context->saved_data["longest"].toInt(), context->saved_data["scale"].toDouble(),
                context->saved_data["ring"].toInt());
    return {query, key, value, {}, {}, {}};
  }
};

}  // namespace

Ring::Ring(std::shared_ptr<distributed::ProcessGroup> group, const RingOptions& options)
    : group_(std::move(group)), layout_(group_->size(), options.order), rotation_(options.rotation) {
  const std::scoped_lock lock(rings().mutex);
  id_ = rings().next_id++;
  rings().by_id[id_] = this;
}

Ring::~Ring() {
  const std::scoped_lock lock(rings().mutex);
  rings().by_id.erase(id_);
}

at::Tensor ring_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                          const kernels::AttentionMask& mask, const Ring& ring, std::optional<double> scale) {
  TORCH_INTERNAL_ASSERT(mask.is_causal && mask.query_offset == 0, "context parallel shares causal attention only");
  kernels::AttentionMask of_sequence{.is_causal = true, .first_key = mask.first_key, .segments = mask.segments};
  if (mask.window > 0) {
    const int64_t seq_len = query.size(1) * ring.group().size();
    const at::Tensor first =
        (ring.own_tokens(seq_len).to(query.device()) + (1 - mask.window)).expand(query.sizes().slice(0, 2));
    of_sequence.first_key = mask.first_key.defined() ? at::maximum(mask.first_key, first) : first;
    of_sequence.segments = {};  // queries of one document no longer see from one key on
  }
  const double default_scale = 1.0 / std::sqrt(static_cast<double>(query.size(3)));
  return RingAttention::apply(query, key, value, of_sequence, scale.value_or(default_scale), ring.id());
}

}  // namespace titan::parallel
