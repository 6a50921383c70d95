// Two launches for up to kMostTensors tensors: each block sums one chunk of one tensor, then one block sums what they
// found, in a fixed order.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

constexpr int kThreads = 512;
constexpr int64_t kChunk = 1 << 16;  // elements
constexpr int kMostTensors = 96;     // of one launch: the table travels as a kernel argument, which has at most 4 KB

struct Table {
  const void* data[kMostTensors];
  int64_t numel[kMostTensors];
  int32_t first_block[kMostTensors];  // ascending; a tensor's blocks follow each other
  int32_t dtype[kMostTensors];        // at::ScalarType
  int32_t num_tensors;
};
static_assert(sizeof(Table) <= 4000);

// The sum over a block's threads, on thread 0; always added in the same order.
__device__ double sum_over_block(double value) {
  __shared__ double of_warp[kThreads / 32];
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffff, value, offset);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  value = threadIdx.x < kThreads / 32 ? of_warp[threadIdx.x] : 0;
  if (threadIdx.x < 32) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffff, value, offset);
  }
  return value;
}

// 16 bytes at a time where the chunk is aligned to it, which it is but for a tensor that starts anywhere in a storage.
template <class T>
__device__ double sum_chunk(const T* x, int64_t size) {
  constexpr int kPack = 16 / sizeof(T);
  struct alignas(16) Pack {
    T values[kPack];
  };
  double sum = 0;
  int64_t done = 0;
  if (reinterpret_cast<uintptr_t>(x) % 16 == 0) {
    const int64_t num_packs = size / kPack;
    const Pack* const packs = reinterpret_cast<const Pack*>(x);
    for (int64_t i = threadIdx.x; i < num_packs; i += kThreads) {
      const Pack pack = packs[i];
      for (int k = 0; k < kPack; ++k) {
        const double value = static_cast<double>(pack.values[k]);
        sum += value * value;
      }
    }
    done = num_packs * kPack;
  }
  for (int64_t i = done + threadIdx.x; i < size; i += kThreads) {
    const double value = static_cast<double>(x[i]);
    sum += value * value;
  }
  return sum;
}

__global__ void sum_chunks(Table table, double* partial) {
  const int32_t block = static_cast<int32_t>(blockIdx.x);
  int low = 0, high = table.num_tensors - 1;  // the last tensor that starts at or before this block
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table.first_block[middle] <= block) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int64_t begin = int64_t{block - table.first_block[low]} * kChunk;
  const int64_t left = table.numel[low] - begin;
  const int64_t size = left < kChunk ? left : kChunk;
  double sum = 0;
  switch (static_cast<at::ScalarType>(table.dtype[low])) {
    case at::kFloat:
      sum = sum_chunk(static_cast<const float*>(table.data[low]) + begin, size);
      break;
    case at::kBFloat16:
      sum = sum_chunk(static_cast<const at::BFloat16*>(table.data[low]) + begin, size);
      break;
    case at::kHalf:
      sum = sum_chunk(static_cast<const at::Half*>(table.data[low]) + begin, size);
      break;
    default:
      sum = sum_chunk(static_cast<const double*>(table.data[low]) + begin, size);
  }
  sum = sum_over_block(sum);
  if (threadIdx.x == 0) partial[block] = sum;
}

// Adds to `total`, which holds what earlier launches found.
__global__ void sum_partials(const double* partial, int num_partials, double* total) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < num_partials; i += kThreads) sum += partial[i];
  sum = sum_over_block(sum);
  if (threadIdx.x == 0) *total += sum;
}

}  // namespace

at::Tensor sum_of_squares_cuda(at::TensorList tensors) {
  const c10::cuda::CUDAGuard guard(tensors.front().device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const auto options = tensors.front().options().dtype(at::kDouble);
  at::Tensor total = at::zeros({}, options);

  std::vector<at::Tensor> contiguous;  // alive until the kernels are enqueued; the allocator orders what follows
  Table table{};
  int64_t num_blocks = 0;
  const auto launch = [&] {
    if (table.num_tensors == 0) return;
    const at::Tensor partial = at::empty({num_blocks}, options);
    sum_chunks<<<static_cast<unsigned>(num_blocks), kThreads, 0, stream>>>(table, partial.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    sum_partials<<<1, kThreads, 0, stream>>>(partial.const_data_ptr<double>(), static_cast<int>(num_blocks),
                                             total.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    table.num_tensors = 0;
    num_blocks = 0;
  };
  for (const at::Tensor& tensor : tensors) {
    if (tensor.numel() == 0) continue;
    const at::ScalarType dtype = tensor.scalar_type();
    TORCH_CHECK_VALUE(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf || dtype == at::kDouble,
                      "sum_of_squares: expected float32, bfloat16, float16 or float64, got ", dtype);
    contiguous.push_back(tensor.contiguous());
    if (table.num_tensors == kMostTensors) launch();
    const int i = table.num_tensors++;
    table.data[i] = contiguous.back().const_data_ptr();
    table.numel[i] = tensor.numel();
    table.first_block[i] = static_cast<int32_t>(num_blocks);
    table.dtype[i] = static_cast<int32_t>(dtype);
    num_blocks += (tensor.numel() + kChunk - 1) / kChunk;
  }
  launch();
  return total;
}

}  // namespace titan::kernels
