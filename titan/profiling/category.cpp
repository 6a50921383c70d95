#include "titan/profiling/category.h"

#include <numeric>

#include "titan/profiling/flop_formulas.h"

namespace titan::profiling {
namespace {

struct Row {
  std::string_view text;
  Category category;
};

// Products and attentions are those that FLOPs are counted of; these are by how the name begins.
constexpr Row kOperators[] = {
    {"aten::_fused_adam", Category::kOptimizer},      {"aten::_foreach_", Category::kOptimizer},
    {"titan::sum_of_squares", Category::kOptimizer},  {"titan::communicate", Category::kCommunication},
    {"_c10d_functional::", Category::kCommunication}, {"c10d::", Category::kCommunication},
};

// By what stands in the name; the first row that fits counts. Attention comes before products: its kernels are built
// from CUTLASS and say so.
constexpr Row kKernels[] = {
    {"nccl", Category::kCommunication},
    {"sdpa", Category::kAttention},  // cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_...
    {"fmha", Category::kAttention},  // fmha_cutlassF_bf16_aligned_64x128_rf_sm80(...)
    {"flash", Category::kAttention},
    {"FusedAdam", Category::kOptimizer},
    {"multi_tensor_apply", Category::kOptimizer},  // clipping
    {"sum_chunks", Category::kOptimizer},          // titan/kernels/sum_of_squares.cu
    {"sum_partials", Category::kOptimizer},
    {"nvjet", Category::kMatmul},  // cuBLAS on Hopper and later
    {"gemm", Category::kMatmul},
    {"gemv", Category::kMatmul},
    {"xmma", Category::kMatmul},
    {"cutlass", Category::kMatmul},
    {"cublasLt", Category::kMatmul},  // cublasLt::splitKreduce_kernel
};

}  // namespace

std::string_view name_of(Category category) {
  switch (category) {
    case Category::kMatmul:
      return "matmul";
    case Category::kAttention:
      return "attention";
    case Category::kOther:
      return "other";
    case Category::kOptimizer:
      return "optimizer";
    case Category::kCommunication:
      return "communication";
  }
  return {};
}

double TimeByCategory::total() const { return std::accumulate(seconds.begin(), seconds.end(), idle_seconds); }

Category category_of_operator(std::string_view name) {
  if (const FlopFormula* const formula = find_flop_formula(name)) {
    return formula->is_attention() ? Category::kAttention : Category::kMatmul;
  }
  for (const Row& row : kOperators) {
    if (name.starts_with(row.text)) return row.category;
  }
  return Category::kOther;
}

Category category_of_kernel(std::string_view name) {
  for (const Row& row : kKernels) {
    if (name.find(row.text) != std::string_view::npos) return row.category;
  }
  return Category::kOther;
}

}  // namespace titan::profiling
