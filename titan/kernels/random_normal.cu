#include <ATen/Dispatch.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>

#include "titan/kernels/operators.h"
#include "titan/kernels/random_normal.h"

namespace titan::kernels {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void fill(T* x, BlockRows rows, NormalDraw draw) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  const int64_t row_blocks = rows.length / 4 + 2;  // at most: a row may begin and end within a block of four
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < rows.num_rows * row_blocks; i += stride) {
    const int64_t row = i / row_blocks, first = rows.first(row), end = first + rows.length;
    const int64_t block = first / 4 + i % row_blocks;
    if (block * 4 >= end) continue;
    float four[4];
    draw(static_cast<uint64_t>(block), four);
    for (int64_t k = 0; k < 4; ++k) {
      const int64_t index = block * 4 + k;
      if (index >= first && index < end) x[row * rows.length + index - first] = static_cast<T>(four[k]);
    }
  }
}

}  // namespace

at::Tensor& random_normal_cuda(at::Tensor& x, int64_t seed, int64_t stream, double mean, double std, double low,
                               double high, at::IntArrayRef whole, at::IntArrayRef offsets) {
  const NormalDraw draw({static_cast<uint64_t>(seed), static_cast<uint64_t>(stream), mean, std, low, high});
  const BlockRows rows(x.sizes(), {whole, offsets});
  if (x.numel() == 0) return x;
  const c10::cuda::CUDAGuard guard(x.device());
  at::Tensor values = x.is_contiguous() ? x : at::empty_like(x, at::MemoryFormat::Contiguous);
  constexpr int64_t kMostBlocks = 1 << 14;  // plenty for any card; each thread goes on in strides
  const int64_t num_blocks = std::min(kMostBlocks, (values.numel() + 4 * kThreads - 1) / (4 * kThreads));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, values.scalar_type(), "random_normal_", [&] {
    fill<<<static_cast<unsigned>(num_blocks), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        values.mutable_data_ptr<scalar_t>(), rows, draw);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  if (!values.is_same(x)) x.copy_(values);
  return x;
}

}  // namespace titan::kernels
