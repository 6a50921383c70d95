#include "titan/kernels/matrix_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>

#include "titan/kernels/cpu/matrix_unit.h"
#include "titan/kernels/cpu/split_product.h"
#include "titan/kernels/work_memory.h"

namespace titan::kernels {
namespace {

bool is_used = false;

// Replacing a kernel of ATen is what is meant here.
struct KeepSilent : c10::WarningHandler {
  void process(const c10::Warning& warning) override {}
};

#if defined(__x86_64__)
constexpr int64_t kGrain = cpu::kSplitProductGrain;

// Rows or columns that follow each other without gaps within one, and do not overlap.
bool is_plain(const at::Tensor& x) {
  return (x.stride(1) == 1 && x.stride(0) >= x.size(1)) || (x.stride(0) == 1 && x.stride(1) >= x.size(0));
}

// Into `out`, whose rows are contiguous. Each thread computes a part of it, rows x columns such that the least is
// packed.
void multiply(const at::Tensor& a, const at::Tensor& b, at::Tensor& out) {
  const int64_t m = a.size(0), k = a.size(1), n = b.size(1);
  const cpu::SplitFactor left{a.const_data_ptr<float>(), a.stride(0), a.stride(1)};
  const cpu::SplitFactor right{b.const_data_ptr<float>(), b.stride(1), b.stride(0)};
  float* const c = out.mutable_data_ptr<float>();

  const int64_t row_grains = at::divup(m, kGrain), column_grains = at::divup(n, kGrain);
  const int64_t num_threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  int64_t down = 1, least_packed = std::numeric_limits<int64_t>::max();
  for (int64_t candidate = 1; candidate <= num_threads; ++candidate) {
    if (num_threads % candidate != 0) continue;
    const int64_t packed = at::divup(row_grains, candidate) + at::divup(column_grains, num_threads / candidate);
    if (packed < least_packed) least_packed = packed, down = candidate;
  }
  const int64_t across = num_threads / down;
  at::parallel_for(0, num_threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t i = part / across, j = part % across;
      const int64_t row = row_grains * i / down * kGrain, column = column_grains * j / across * kGrain;
      const int64_t rows = std::min(m, row_grains * (i + 1) / down * kGrain) - row;
      const int64_t columns = std::min(n, column_grains * (j + 1) / across * kGrain) - column;
      if (rows <= 0 || columns <= 0) continue;
      const WorkMemory memory(cpu::split_product_memory(columns, k));
      cpu::split_product({left.data + row * left.line_stride, left.line_stride, left.term_stride},
                         {right.data + column * right.line_stride, right.line_stride, right.term_stride}, rows, columns,
                         k, c + row * out.stride(0) + column, out.stride(0), memory.data());
    }
  });
}
#endif

}  // namespace

void use_matrix_unit_for_fp32(bool use) {
  is_used = use;
  if (!use || !cpu::has_matrix_unit()) return;
  static const torch::Library replaced = [] {
    KeepSilent silent;
    const c10::WarningUtils::WarningHandlerGuard guard(&silent);
    torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::CPU, __FILE__, __LINE__);
    library.impl("mm", mm_cpu);
    library.impl("mm.out", mm_out_cpu);
    return library;
  }();
}

bool takes_matrix_unit(const at::Tensor& a, const at::Tensor& b) {
#if defined(__x86_64__)
  constexpr int64_t kLeastSide = 32, kLeastProducts = int64_t{1} << 21;  // below it packing takes longer than is won
  if (!is_used || a.dim() != 2 || b.dim() != 2 || a.scalar_type() != at::kFloat || b.scalar_type() != at::kFloat) {
    return false;
  }
  const int64_t m = a.size(0), k = a.size(1), n = b.size(1);
  return k == b.size(0) && std::min({m, k, n}) >= kLeastSide && m * k * n >= kLeastProducts && is_plain(a) &&
         is_plain(b) && !a.is_neg() && !b.is_neg() && cpu::has_matrix_unit();
#else
  return false;
#endif
}

at::Tensor mm_cpu(const at::Tensor& a, const at::Tensor& b) {
#if defined(__x86_64__)
  if (takes_matrix_unit(a, b)) {
    at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
    multiply(a, b, out);
    return out;
  }
#endif
  return at::cpu::mm(a, b);
}

at::Tensor& mm_out_cpu(const at::Tensor& a, const at::Tensor& b, at::Tensor& out) {
#if defined(__x86_64__)
  const bool fits = out.dim() == 2 && out.scalar_type() == at::kFloat && out.size(0) == a.size(0) &&
                    out.size(1) == b.size(-1) && out.stride(1) == 1 && out.stride(0) >= out.size(1);
  if (fits && takes_matrix_unit(a, b)) {
    multiply(a, b, out);
    return out;
  }
#endif
  return at::cpu::mm_out(out, a, b);
}

}  // namespace titan::kernels
