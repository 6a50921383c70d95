#include "titan/profiling/category.h"

#include <gtest/gtest.h>

namespace titan::profiling {
namespace {

TEST(Category, SortsOperatorsByWhatTheyAreFor) {
  EXPECT_EQ(category_of_operator("aten::mm"), Category::kMatmul);
  EXPECT_EQ(category_of_operator("aten::_scaled_dot_product_flash_attention_for_cpu_backward"), Category::kAttention);
  EXPECT_EQ(category_of_operator("titan::attention_backward"), Category::kAttention);
  EXPECT_EQ(category_of_operator("aten::_fused_adamw_"), Category::kOptimizer);
  EXPECT_EQ(category_of_operator("aten::_foreach_mul_"), Category::kOptimizer);
  EXPECT_EQ(category_of_operator("titan::sum_of_squares"), Category::kOptimizer);
  EXPECT_EQ(category_of_operator("_c10d_functional::all_reduce"), Category::kCommunication);
  EXPECT_EQ(category_of_operator("titan::communicate"), Category::kCommunication);
  EXPECT_EQ(category_of_operator("aten::mmm"), Category::kOther);
  EXPECT_EQ(category_of_operator("titan::random_normal_"), Category::kOther);
}

struct Kernel {
  const char* name;
  Category category;
};

// Names as profilers print them on Ampere, Hopper and Blackwell, cut where they get long.
TEST(Category, SortsKernelsByTheirNames) {
  const Kernel kernels[] = {
      {"nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NNT", Category::kMatmul},
      {"nvjet_tst_192x8_64x8_4x1_v_bz_splitK_TNT", Category::kMatmul},
      {"nvjet_sm90_hss_320x128", Category::kMatmul},
      {"sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__"
       "5x_cublas",
       Category::kMatmul},
      {"ampere_bf16_s16816gemm_bf16_256x128_ldg8_f2f_stages_32x3_nn", Category::kMatmul},
      {"void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3_nt_align8>(...)",
       Category::kMatmul},
      {"void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float, true, false>(...)",
       Category::kMatmul},
      {"cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel0_0",
       Category::kAttention},
      {"cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26_64x64x128_1x4x1_kernel0_0",
       Category::kAttention},
      {"void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128, 128, 4, false, false, "
       "cutlass::bfloat16_t, ...",
       Category::kAttention},
      {"fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass::bfloat16_t, ...",
       Category::kAttention},
      {"void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous "
       "namespace)::FusedOptimizerTensorListMetadata<4>, at::native::(anonymous "
       "namespace)::FusedAdamMathFunctor<float, "
       "4, ...",
       Category::kOptimizer},
      {"void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous "
       "namespace)::TensorListMetadata<1>, at::native::(anonymous namespace)::BinaryOpScalarTensorFunctor<float, 1, "
       "...",
       Category::kOptimizer},
      {"titan::kernels::(anonymous namespace)::sum_chunks(titan::kernels::(anonymous namespace)::Table, double*)",
       Category::kOptimizer},
      {"titan::kernels::(anonymous namespace)::sum_partials(double const*, int, double*)", Category::kOptimizer},
      {"ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", Category::kCommunication},
      {"ncclKernel_ReduceScatter_RING_SIMPLE_Sum_bf16", Category::kCommunication},
      {"void at::native::vectorized_elementwise_kernel<4, at::native::bfloat16_copy_kernel_cuda(...)",
       Category::kOther},
      {"void at::native::(anonymous namespace)::cunn_SoftMaxForward<8, float, float, float, ...", Category::kOther},
      {"void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<...", Category::kOther},
      {"void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float, true>(...)",
       Category::kOther},
      {"Memcpy HtoD (Pinned -> Device)", Category::kOther},
      {"Memset (Device)", Category::kOther},
  };
  for (const Kernel& kernel : kernels) {
    EXPECT_EQ(name_of(category_of_kernel(kernel.name)), name_of(kernel.category)) << kernel.name;
  }
}

TEST(TimeByCategory, TotalCountsIdle) {
  TimeByCategory time;
  time[Category::kMatmul] = 2;
  time[Category::kCommunication] = 0.5;
  time.idle_seconds = 1;
  EXPECT_EQ(time.total(), 3.5);
}

}  // namespace
}  // namespace titan::profiling
