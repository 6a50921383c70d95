// Products of fp32 matrices on CPUs with a matrix unit (AMX on x86-64), faster than by fused multiply-adds and at least
// as exact: cpu/split_product.h. Once asked for, they take the place of ATen's CPU kernels of aten::mm and
// aten::mm.out, so whatever multiplies matrices has them: linear layers, their gradients, the shards of a DTensor.
//
// Products that are small, strided in both directions or of another dtype, and CPUs without such a unit, have ATen's.
// Results do not depend on the number of threads, and a row of the result depends on its own row of `a` and on `b`
// only.
#pragma once

#include <ATen/core/Tensor.h>

namespace titan::kernels {

// Whether aten::mm takes them from now on, in the whole process: training.fp32_products. No product may be under way.
void use_matrix_unit_for_fp32(bool use);

// Whether mm_cpu(a, b) computes on the matrix unit.
bool takes_matrix_unit(const at::Tensor& a, const at::Tensor& b);

// a: [m, k], b: [k, n] -> [m, n]. Throws as at::mm.
at::Tensor mm_cpu(const at::Tensor& a, const at::Tensor& b);
at::Tensor& mm_out_cpu(const at::Tensor& a, const at::Tensor& b, at::Tensor& out);

}  // namespace titan::kernels
