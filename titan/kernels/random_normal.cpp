#include "titan/kernels/random_normal.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "titan/kernels/operators.h"

namespace titan::kernels {

at::Tensor& random_normal_cpu(at::Tensor& x, int64_t seed, int64_t stream, double mean, double std, double low,
                              double high) {
  const NormalDraw draw({static_cast<uint64_t>(seed), static_cast<uint64_t>(stream), mean, std, low, high});
  const at::Tensor values = at::empty(x.sizes(), at::kFloat);
  float* const data = values.mutable_data_ptr<float>();
  const int64_t numel = values.numel();
  at::parallel_for(0, (numel + 3) / 4, 4096, [&](int64_t begin, int64_t end) {
    float four[4];
    for (int64_t block = begin; block < end; ++block) {
      draw(static_cast<uint64_t>(block), four);
      for (int64_t i = 0; i < 4 && block * 4 + i < numel; ++i) data[block * 4 + i] = four[i];
    }
  });
  return x.copy_(values);
}

void random_normal_(const at::Tensor& x, const RandomNormal& d) {
  static const auto op = find_operator("random_normal_")
                             .typed<at::Tensor&(at::Tensor&, int64_t, int64_t, double, double, double, double)>();
  const at::NoGradGuard no_grad;
  at::Tensor self = x;
  op.call(self, static_cast<int64_t>(d.seed), static_cast<int64_t>(d.stream), d.mean, d.std, d.low, d.high);
}

}  // namespace titan::kernels
