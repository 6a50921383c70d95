#include "titan/nn/init.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include "titan/kernels/random_normal.h"

namespace titan::nn {
namespace {

// FNV-1a, 64 bits: stable across platforms and versions, unlike std::hash.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

void fill(Parameter& parameter, const std::string& stream, kernels::RandomNormal distribution) {
  const at::Tensor& tensor = parameter.get();
  TORCH_INTERNAL_ASSERT(!tensor.is_meta(), "init before to_empty: ", parameter.fqn());
  distribution.stream = hash_of(stream);
  kernels::random_normal_(tensor, distribution);
}

}  // namespace

void Initializer::normal(Parameter& parameter, double mean, double std) const {
  fill(parameter, stream_of(parameter), {.seed = seed_, .mean = mean, .std = std});
}

void Initializer::trunc_normal(Parameter& parameter, double mean, double std, double low, double high) const {
  fill(parameter, stream_of(parameter), {.seed = seed_, .mean = mean, .std = std, .low = low, .high = high});
}

Initializer Initializer::as(std::string_view fqn) const {
  Initializer other = *this;
  other.fqn_ = fqn;
  return other;
}

std::string Initializer::stream_of(const Parameter& parameter) const { return fqn_.value_or(parameter.fqn()); }

void Initializer::ones(Parameter& parameter) const {
  at::NoGradGuard no_grad;
  parameter.get().fill_(1.0);
}

void Initializer::zeros(Parameter& parameter) const {
  at::NoGradGuard no_grad;
  parameter.get().zero_();
}

}  // namespace titan::nn
