#include "titan/kernels/random_normal.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "titan/kernels/operators.h"

namespace titan::kernels {

at::Tensor& random_normal_cpu(at::Tensor& x, int64_t seed, int64_t stream, double mean, double std, double low,
                              double high, at::IntArrayRef whole, at::IntArrayRef offsets) {
  const NormalDraw draw({static_cast<uint64_t>(seed), static_cast<uint64_t>(stream), mean, std, low, high});
  const BlockRows rows(x.sizes(), {whole, offsets});
  if (x.numel() == 0) return x;
  const at::Tensor values = at::empty(x.sizes(), at::kFloat);
  float* const data = values.mutable_data_ptr<float>();
  for (int64_t row = 0; row < rows.num_rows; ++row) {
    const int64_t first = rows.first(row), end = first + rows.length;
    float* const out = data + row * rows.length;
    at::parallel_for(first / 4, (end + 3) / 4, 4096, [&](int64_t begin_block, int64_t end_block) {
      float four[4];
      for (int64_t block = begin_block; block < end_block; ++block) {
        draw(static_cast<uint64_t>(block), four);
        for (int64_t i = std::max(block * 4, first); i < std::min(block * 4 + 4, end); ++i) {
          out[i - first] = four[i - block * 4];
        }
      }
    });
  }
  return x.copy_(values);
}

void random_normal_(const at::Tensor& x, const RandomNormal& d, const Block& block) {
  static const auto op = find_operator("random_normal_")
                             .typed<at::Tensor&(at::Tensor&, int64_t, int64_t, double, double, double, double,
                                                at::IntArrayRef, at::IntArrayRef)>();
  const at::NoGradGuard no_grad;
  at::Tensor self = x;
  op.call(self, static_cast<int64_t>(d.seed), static_cast<int64_t>(d.stream), d.mean, d.std, d.low, d.high, block.whole,
          block.offsets);
}

}  // namespace titan::kernels
