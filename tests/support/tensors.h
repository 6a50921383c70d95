// Tensors in tests: the operators most tests need, and how two tensors are compared.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

namespace titan::test {

// ||a - b||_2 / ||b||_2, accumulated in fp64: the measure of every numerical claim.
inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor difference = a.to(at::kDouble) - b.to(at::kDouble);
  return (difference.norm() / b.to(at::kDouble).norm()).item<double>();
}

// Standard normal, the same for the same seed.
inline at::Tensor random(at::IntArrayRef sizes, uint64_t seed) {
  return at::randn(sizes, at::make_generator<at::CPUGeneratorImpl>(seed));
}

}  // namespace titan::test
