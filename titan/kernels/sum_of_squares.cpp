#include "titan/kernels/sum_of_squares.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "titan/kernels/cpu/loops.h"
#include "titan/kernels/cpu/sum_of_squares.h"
#include "titan/kernels/operators.h"

namespace titan::kernels {
namespace {

// Fixed, so that the order of summation does not depend on the number of threads.
constexpr int64_t kBlock = 1 << 14;

double sum_of_squares(const at::Tensor& x) {
  const at::Tensor contiguous = x.contiguous();
  const int64_t numel = contiguous.numel();
  std::vector<double> partial((numel + kBlock - 1) / kBlock);
  const auto* const data = static_cast<const std::byte*>(contiguous.const_data_ptr());
  const at::ScalarType dtype = contiguous.scalar_type();
  TORCH_CHECK_VALUE(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf || dtype == at::kDouble,
                    "sum_of_squares: expected float32, bfloat16, float16 or float64, got ", dtype);
  const auto sum_block = cpu::loops<cpu::SumOfSquaresLoops>().sum;
  at::parallel_for(0, static_cast<int64_t>(partial.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      partial[block] =
          sum_block(data + block * kBlock * contiguous.element_size(), dtype, std::min(kBlock, numel - block * kBlock));
    }
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
