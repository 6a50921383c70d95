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
__global__ void fill(T* x, int64_t numel, NormalDraw draw) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t block = int64_t{blockIdx.x} * kThreads + threadIdx.x; block * 4 < numel; block += stride) {
    float four[4];
    draw(static_cast<uint64_t>(block), four);
    for (int i = 0; i < 4 && block * 4 + i < numel; ++i) x[block * 4 + i] = static_cast<T>(four[i]);
  }
}

}  // namespace

at::Tensor& random_normal_cuda(at::Tensor& x, int64_t seed, int64_t stream, double mean, double std, double low,
                               double high) {
  if (x.numel() == 0) return x;
  const c10::cuda::CUDAGuard guard(x.device());
  const NormalDraw draw({static_cast<uint64_t>(seed), static_cast<uint64_t>(stream), mean, std, low, high});
  at::Tensor values = x.is_contiguous() ? x : at::empty_like(x, at::MemoryFormat::Contiguous);
  const int64_t numel = values.numel();
  constexpr int64_t kMostBlocks = 1 << 14;  // plenty for any card; each thread goes on in strides
  const int64_t num_blocks = std::min(kMostBlocks, (numel + 4 * kThreads - 1) / (4 * kThreads));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, values.scalar_type(), "random_normal_", [&] {
    fill<<<static_cast<unsigned>(num_blocks), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        values.mutable_data_ptr<scalar_t>(), numel, draw);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  if (!values.is_same(x)) x.copy_(values);
  return x;
}

}  // namespace titan::kernels
