#include "titan/nn/init.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <numbers>

#include "titan/nn/philox.h"

namespace titan::nn {
namespace {

// FNV-1a, 64 bits: stable across platforms and versions, unlike std::hash.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

// (0, 1), never an end point: 24 random bits plus one half
double to_uniform(uint32_t bits) { return ((bits >> 8) + 0.5) * 0x1p-24; }

// The inverse of the standard normal distribution function: Acklam's rational approximation (relative error 1.2e-9),
// far below the spacing of the 2^24 uniform values that go in.
double inverse_normal_cdf(double p) {
  constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                          1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                          -1.328068155288572e+01};
  constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                          -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  constexpr double kLow = 0.02425;
  const auto tail = [&](double q) {
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
  };
  if (p < kLow) return tail(std::sqrt(-2 * std::log(p)));
  if (p > 1 - kLow) return -tail(std::sqrt(-2 * std::log1p(-p)));
  const double q = p - 0.5, r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

// Fills `parameter` with draw(uniform), uniform in (0, 1) by seed, FQN and element index.
template <class Draw>
void fill(Parameter& parameter, uint64_t seed, const Draw& draw) {
  const at::Tensor& tensor = parameter.get();
  TORCH_INTERNAL_ASSERT(!tensor.is_meta(), "init before to_empty: ", parameter.fqn());
  const uint64_t stream = hash_of(parameter.fqn());
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  at::Tensor values = at::empty(tensor.sizes(), at::kFloat);
  float* const data = values.mutable_data_ptr<float>();
  const int64_t numel = values.numel();
  at::parallel_for(0, (numel + 3) / 4, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const auto words = philox_4x32_10({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                                         static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                                        key);
      for (int64_t i = 0; i < 4 && block * 4 + i < numel; ++i) {
        data[block * 4 + i] = static_cast<float>(draw(to_uniform(words[i])));
      }
    }
  });
  at::NoGradGuard no_grad;
  tensor.copy_(values);
}

}  // namespace

void Initializer::normal(Parameter& parameter, double mean, double std) const {
  fill(parameter, seed_, [=](double uniform) { return mean + std * inverse_normal_cdf(uniform); });
}

void Initializer::trunc_normal(Parameter& parameter, double mean, double std, double low, double high) const {
  const double p_low = normal_cdf((low - mean) / std), p_high = normal_cdf((high - mean) / std);
  fill(parameter, seed_, [=](double uniform) {
    return std::clamp(mean + std * inverse_normal_cdf(p_low + (p_high - p_low) * uniform), low, high);
  });
}

void Initializer::ones(Parameter& parameter) const {
  at::NoGradGuard no_grad;
  parameter.get().fill_(1.0);
}

}  // namespace titan::nn
