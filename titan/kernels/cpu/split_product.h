// Products of fp32 matrices on a unit that multiplies bfloat16 ones: each element is split into three bfloat16 numbers
// whose sum it is. The method is in split_product.cpp. For CPUs with a matrix unit (matrix_unit.h); built for x86-64
// only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace titan::kernels::cpu {

// A factor of a product, by the lines that the result's rows or columns come from and by the terms that are summed
// over: element (line, term) is at data[line * line_stride + term * term_stride], and one of the strides is 1.
struct SplitFactor {
  const float* data;
  int64_t line_stride, term_stride;
};

// The memory that split_product() works in, in bytes: at most some MiB, whatever the sizes.
int64_t split_product_memory(int64_t num_columns, int64_t num_terms);

// c[row * stride + column] = sum over terms of left(row, term) * right(column, term). `memory` is 64-byte aligned.
// What an element becomes depends on its row, its column and num_terms only: a larger product may be computed in
// parts, by any split of rows and columns at multiples of kSplitProductGrain.
constexpr int64_t kSplitProductGrain = 32;
void split_product(const SplitFactor& left, const SplitFactor& right, int64_t num_rows, int64_t num_columns,
                   int64_t num_terms, float* c, int64_t stride, std::byte* memory);

}  // namespace titan::kernels::cpu
