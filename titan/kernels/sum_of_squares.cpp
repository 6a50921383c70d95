#include "titan/kernels/sum_of_squares.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

// Fixed, so that the order of summation does not depend on the number of threads.
constexpr int64_t kBlock = 1 << 14;

template <class T>
double sum_block(const T* x, int64_t size) {
  // Eight sums side by side, for the vector unit.
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= size; i += 8) {
    for (int64_t lane = 0; lane < 8; ++lane) {
      const double value = static_cast<double>(x[i + lane]);
      sums[lane] += value * value;
    }
  }
  double sum = 0;
  for (; i < size; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (const double lane : sums) sum += lane;
  return sum;
}

double sum_of_squares(const at::Tensor& x) {
  const at::Tensor contiguous = x.contiguous();
  const int64_t numel = contiguous.numel();
  std::vector<double> partial((numel + kBlock - 1) / kBlock);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, contiguous.scalar_type(), "sum_of_squares", [&] {
    const scalar_t* const data = contiguous.const_data_ptr<scalar_t>();
    at::parallel_for(0, static_cast<int64_t>(partial.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        partial[block] = sum_block(data + block * kBlock, std::min(kBlock, numel - block * kBlock));
      }
    });
  });
  double sum = 0;
  for (const double block : partial) sum += block;
  return sum;
}

}  // namespace

at::Tensor sum_of_squares_cpu(at::TensorList tensors) {
  double sum = 0;
  for (const at::Tensor& tensor : tensors) sum += sum_of_squares(tensor);
  return at::scalar_tensor(sum, at::kDouble);
}

at::Tensor sum_of_squares(at::TensorList tensors) {
  static const auto op = find_operator("sum_of_squares").typed<at::Tensor(at::TensorList)>();
  if (tensors.empty()) return at::zeros({}, at::kDouble);
  return op.call(tensors);
}

}  // namespace titan::kernels
