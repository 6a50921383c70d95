// Random operators: the same numbers at every layout. [Note: random numbers] in mesh.h
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones_like.h>

#include <cmath>
#include <mutex>

#include "titan/dtensor/mesh_state.h"
#include "titan/dtensor/rule.h"
#include "titan/dtensor/rules/families.h"
#include "titan/dtensor/rules/strategies.h"
#include "titan/kernels/normal_distribution.h"
#include "titan/kernels/philox.h"

namespace titan::dtensor {
namespace {

using torch::jit::Stack;
using RandomWords = std::array<uint32_t, 4>;

// The global indices of a local tensor's elements, dimension by dimension.
class GlobalIndices {
 public:
  explicit GlobalIndices(const Spec& spec) {
    int64_t stride = 1;
    for (int64_t dim = spec.dim() - 1; dim >= 0; --dim) {
      std::vector<int64_t> offsets;
      for (const Segment& segment : spec.segments(dim)) {
        for (int64_t i = 0; i < segment.size; ++i) offsets.push_back((segment.offset + i) * stride);
      }
      offsets_.insert(offsets_.begin(), std::move(offsets));
      stride *= spec.sizes[dim];
    }
    if (offsets_.empty()) offsets_.push_back({0});  // one number
  }

  int64_t num_rows() const {
    int64_t rows = 1;
    for (size_t dim = 0; dim + 1 < offsets_.size(); ++dim) rows *= static_cast<int64_t>(offsets_[dim].size());
    return rows;
  }
  const std::vector<int64_t>& row() const { return offsets_.back(); }
  int64_t row_start(int64_t row) const {
    int64_t start = 0;
    for (auto dim = static_cast<int64_t>(offsets_.size()) - 2; dim >= 0; --dim) {
      const auto size = static_cast<int64_t>(offsets_[dim].size());
      start += offsets_[dim][row % size];
      row /= size;
    }
    return start;
  }

 private:
  std::vector<std::vector<int64_t>> offsets_;
};

// One per draw, so that all ranks agree on what the next call draws.
RandomState next_draw(MeshState& mesh) {
  const std::scoped_lock lock(mesh.mutex);
  RandomState draw = mesh.random;
  ++mesh.random.num_calls;
  return draw;
}

// A tensor of what `number` makes of each element's words, in fp64 on the CPU, of the local sizes.
template <class Number>
at::Tensor draw(const Spec& spec, const GlobalIndices& indices, const Number& number) {
  const RandomState state = next_draw(*spec.mesh);
  at::Tensor values = at::empty(spec.local_sizes, at::kDouble);
  auto* const data = values.mutable_data_ptr<double>();
  const std::vector<int64_t>& row = indices.row();
  const auto length = static_cast<int64_t>(row.size());
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(state.seed), static_cast<uint32_t>(state.seed >> 32)};
  at::parallel_for(0, length == 0 ? 0 : indices.num_rows(), 256, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t start = indices.row_start(r);
      for (int64_t i = 0; i < length; ++i) {
        const auto index = static_cast<uint64_t>(start + row[i]);
        data[r * length + i] = number(kernels::philox_4x32_10(
            {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), static_cast<uint32_t>(state.num_calls),
             static_cast<uint32_t>(state.num_calls >> 32)},
            key));
      }
    }
  });
  return values;
}

// In [0, 1), of as many bits as the dtype has, so that rounding to it does not make a 1.
double uniform(const RandomWords& words, at::ScalarType dtype) {
  const uint64_t bits = uint64_t{words[0]} << 32 | words[1];
  const int digits = dtype == at::kDouble ? 53 : dtype == at::kHalf ? 11 : dtype == at::kBFloat16 ? 8 : 24;
  return std::ldexp(static_cast<double>(bits >> (64 - digits)), -digits);
}

double standard_normal(const RandomWords& words) {
  return kernels::inverse_normal_cdf(((words[0] >> 8) + 0.5) * 0x1p-24);
}

// What an operator draws: given its arguments and the dtype of the result, the local values in fp64.
using Draw = at::Tensor (*)(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments,
                            at::ScalarType dtype);

// (self, from, to)
at::Tensor draw_uniform(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments,
                        at::ScalarType dtype) {
  const double from = arguments[1].toDouble(), to = arguments[2].toDouble();
  return draw(spec, indices, [=](const RandomWords& words) { return from + (to - from) * uniform(words, dtype); });
}

at::Tensor draw_unit(const Spec& spec, const GlobalIndices& indices, const c10::IValue*, at::ScalarType dtype) {
  return draw(spec, indices, [=](const RandomWords& words) { return uniform(words, dtype); });
}

// (self, mean, std)
at::Tensor draw_normal(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments, at::ScalarType) {
  const double mean = arguments[1].toDouble(), std = arguments[2].toDouble();
  return draw(spec, indices, [=](const RandomWords& words) { return mean + std * standard_normal(words); });
}

at::Tensor draw_standard_normal(const Spec& spec, const GlobalIndices& indices, const c10::IValue*, at::ScalarType) {
  return draw(spec, indices, standard_normal);
}

// (self, lambd)
at::Tensor draw_exponential(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments,
                            at::ScalarType) {
  const double rate = arguments[1].toDouble();
  return draw(spec, indices,
              [=](const RandomWords& words) { return -std::log1p(-uniform(words, at::kDouble)) / rate; });
}

// (self, p)
at::Tensor draw_bernoulli(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments,
                          at::ScalarType) {
  const double p = arguments[1].toDouble();
  return draw(spec, indices, [=](const RandomWords& words) { return uniform(words, at::kDouble) < p ? 1.0 : 0.0; });
}

// In [low, high).
at::Tensor draw_integers(const Spec& spec, const GlobalIndices& indices, int64_t low, int64_t high) {
  TORCH_CHECK_VALUE(low < high, "random integers: expected from < to, got ", low, " and ", high);
  const auto range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  return draw(spec, indices, [=](const RandomWords& words) {
    const uint64_t bits = uint64_t{words[0]} << 32 | words[1];
    return static_cast<double>(low) + static_cast<double>(bits % range);
  });
}
// (self, high), (self, to)
at::Tensor draw_below(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments, at::ScalarType) {
  return draw_integers(spec, indices, 0, arguments[1].toInt());
}
// (self, low, high)
at::Tensor draw_between(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments, at::ScalarType) {
  return draw_integers(spec, indices, arguments[1].toInt(), arguments[2].toInt());
}

// (probabilities)
at::Tensor draw_given(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments, at::ScalarType) {
  const at::Tensor p = arguments[0].toTensor();
  return draw_unit(spec, indices, nullptr, at::kDouble).to(p.device()).lt(p.to(at::kDouble)).to(at::kDouble);
}
// (self, p)
at::Tensor draw_given_second(const Spec& spec, const GlobalIndices& indices, const c10::IValue* arguments,
                             at::ScalarType dtype) {
  return draw_given(spec, indices, arguments + 1, dtype);
}

// The result is self, filled, or a new tensor.
template <Draw drawn>
LocalKernel local_draw(const Call& call, const Placed& placed) {
  const Spec& spec = *placed.outputs.front();
  const auto num_arguments = static_cast<int64_t>(call.schema.arguments().size());
  const bool in_place = call.outputs.front().operand >= 0;
  const at::ScalarType dtype = call.outputs.front().meta.scalar_type();
  return [=, &spec, indices = GlobalIndices(spec)](const c10::OperatorHandle&, Stack& stack) {
    const at::Tensor self = (stack.end() - num_arguments)->toTensor();
    at::Tensor result = in_place ? self : at::empty(spec.local_sizes, self.options().dtype(dtype));
    if (!result.is_meta()) result.copy_(drawn(spec, indices, &*(stack.end() - num_arguments), dtype));
    stack.resize(stack.size() - num_arguments);
    stack.emplace_back(std::move(result));
  };
}

// --- dropout ---

// (result, mask): linear for a given mask, which is the same for every term.
std::vector<Strategy> dropout(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  for (const Placement& term : sums(call)) strategies.push_back(call.strategy({{"input", term}}, {term, replicate()}));
  return strategies;
}

// native_dropout(input, p, train)
LocalKernel local_dropout(const Call&, const Placed& placed) {
  const Spec& spec = *placed.outputs[1];
  return [&spec, indices = GlobalIndices(spec)](const c10::OperatorHandle&, Stack& stack) {
    const at::Tensor input = stack.end()[-3].toTensor();
    const double p = stack.end()[-2].toDouble();
    const bool drops = stack.end()[-1].isNone() || stack.end()[-1].toBool();
    stack.resize(stack.size() - 3);
    if (!drops || input.is_meta()) {
      stack.emplace_back(input.clone());
      stack.emplace_back(at::ones_like(input, input.options().dtype(at::kBool)));
      return;
    }
    const at::Tensor mask = draw_unit(spec, indices, nullptr, at::kDouble).ge(p).to(input.device());
    stack.emplace_back(p == 1 ? input.mul(mask) : input.mul(mask).mul_(1 / (1 - p)));
    stack.emplace_back(mask);
  };
}

std::vector<at::Tensor> result_and_mask(const Call& call) {
  const at::Tensor& input = call.operand("input").meta;
  return {at::empty_like(input), at::empty_like(input, input.options().dtype(at::kBool))};
}

std::vector<Strategy> dropout_backward(const Call& call) {
  std::vector<Strategy> strategies = elementwise(call);
  for (const Placement& term : sums(call)) strategies.push_back(call.strategy({{"grad_output", term}}, {term}));
  return strategies;
}

}  // namespace

void add_random_rules(RuleTable& table) {
  table.begin_family("random");
  table.add({"aten::uniform_"}, {.per_axis = elementwise, .kernel = local_draw<draw_uniform>});
  table.add({"aten::normal_", "aten::normal_functional"}, {.per_axis = elementwise, .kernel = local_draw<draw_normal>});
  table.add({"aten::exponential_"}, {.per_axis = elementwise, .kernel = local_draw<draw_exponential>});
  table.add({"aten::bernoulli_.float", "aten::bernoulli.p"},
            {.per_axis = elementwise, .kernel = local_draw<draw_bernoulli>});
  table.add({"aten::bernoulli"}, {.per_axis = elementwise, .kernel = local_draw<draw_given>});
  table.add({"aten::bernoulli_.Tensor"}, {.per_axis = elementwise, .kernel = local_draw<draw_given_second>});
  table.add({"aten::rand_like"}, {.per_axis = elementwise, .kernel = local_draw<draw_unit>});
  table.add({"aten::randn_like"}, {.per_axis = elementwise, .kernel = local_draw<draw_standard_normal>});
  table.add({"aten::randint_like", "aten::random_.to"}, {.per_axis = elementwise, .kernel = local_draw<draw_below>});
  table.add({"aten::randint_like.low_dtype", "aten::random_.from"},
            {.per_axis = elementwise, .kernel = local_draw<draw_between>});
  table.add({"aten::native_dropout"}, {.per_axis = dropout, .kernel = local_dropout, .outputs = result_and_mask});
  table.add({"aten::native_dropout_backward"}, {.per_axis = dropout_backward, .outputs = elementwise_outputs});
}

}  // namespace titan::dtensor
