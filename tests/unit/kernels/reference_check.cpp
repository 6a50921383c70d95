#include "tests/unit/kernels/reference_check.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace titan::test {
namespace {

// The result, then the gradient of each input.
Tensors run(const TensorFunction& function, Tensors inputs, const at::Tensor& grad) {
  for (at::Tensor& input : inputs) input.set_requires_grad(true);
  Tensors results{function(inputs)};
  results.front().backward(grad.to(results.front().scalar_type()));
  for (const at::Tensor& input : inputs) results.push_back(input.grad());
  return results;
}

}  // namespace

void expect_like_reference(const std::string& name, const TensorFunction& function, const TensorFunction& reference,
                           const Tensors& inputs, at::ScalarType dtype, double tolerance) {
  Tensors rounded, wide;
  for (const at::Tensor& input : inputs) {
    rounded.push_back(input.to(dtype));  // keeps strides
    wide.push_back(rounded.back().to(at::kDouble));
  }
  const at::Tensor grad = random(reference(wide).sizes(), 77).to(dtype);
  const Tensors found = run(function, rounded, grad), expected = run(reference, wide, grad);
  // Half a unit in the last place, relative, and a little for a second rounding.
  const double allowed = dtype == at::kBFloat16 ? 0.004 : dtype == at::kHalf ? 0.0005 : tolerance;
  for (size_t i = 0; i < found.size(); ++i) {
    const std::string what = name + (i == 0 ? ": result" : ": gradient of input " + std::to_string(i - 1));
    ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << what;
    EXPECT_EQ(found[i].scalar_type(), dtype) << what;
    if (found[i].numel() > 0 && expected[i].norm().item<double>() > 0) {
      EXPECT_LE(relative_difference(found[i], expected[i]), allowed) << what << " " << dtype;
    } else {
      EXPECT_TRUE(at::equal(found[i].to(at::kDouble), expected[i])) << what;
    }
  }
}

at::Tensor moved_outermost(const at::Tensor& x, int64_t dim) { return x.movedim(dim, 0).contiguous().movedim(0, dim); }

at::Tensor every_other(const at::Tensor& x) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() *= 2;
  const at::Tensor larger = at::empty(sizes, x.options());
  at::Tensor view = larger.slice(-1, 0, std::nullopt, 2);
  return view.copy_(x);
}

}  // namespace titan::test
