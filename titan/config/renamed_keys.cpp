#include "titan/config/renamed_keys.h"

namespace titan::config {
namespace {

using enum RenamedKey::Meaning;

constexpr RenamedKey kRenamedKeys[] = {
    {"job.print_args", "job.print_config"},
    {"job.use_for_integration_test", "", kDropped, "", "", true},
    {"metrics.enable_color_printing", "metrics.disable_color_printing", kInverted},
    {"metrics.rank_0_only", "metrics.save_for_all_ranks", kInverted},
    {"optimizer.fused", "optimizer.implementation", kChoice, "fused", "foreach"},
    {"optimizer.foreach", "optimizer.implementation", kChoice, "foreach", "for-loop"},
    {"lr_scheduler.lr_min", "lr_scheduler.min_lr_factor"},

    {"training.batch_size", "training.local_batch_size"},
    {"training.warmup_steps", "lr_scheduler.warmup_steps"},
    {"training.compile", "compile.enable"},
    {"training.seed", "debug.seed"},
    {"training.deterministic", "debug.deterministic"},
    {"training.deterministic_warn_only", "debug.deterministic_warn_only"},
    {"training.debug_moe_force_load_balance", "debug.moe_force_load_balance"},
    {"training.data_parallel_degree", "parallelism.data_parallel_shard_degree"},
    {"training.data_parallel_replicate_degree", "parallelism.data_parallel_replicate_degree"},
    {"training.data_parallel_shard_degree", "parallelism.data_parallel_shard_degree"},
    {"training.tensor_parallel_degree", "parallelism.tensor_parallel_degree"},
    {"training.enable_loss_parallel", "parallelism.disable_loss_parallel", kInverted},
    {"training.disable_loss_parallel", "parallelism.disable_loss_parallel"},

    {"experimental.enable_async_tensor_parallel", "parallelism.enable_async_tensor_parallel"},
    {"experimental.pipeline_parallel_degree", "parallelism.pipeline_parallel_degree"},
    {"experimental.pipeline_parallel_schedule", "parallelism.pipeline_parallel_schedule"},
    {"experimental.pipeline_parallel_schedule_csv", "parallelism.pipeline_parallel_schedule_csv"},
    {"experimental.pipeline_parallel_split_points", "parallelism.module_fqns_per_model_part", kRefused},
    {"experimental.pipeline_parallel_microbatches", "parallelism.pipeline_parallel_microbatch_size", kRefused},
    {"experimental.context_parallel_degree", "parallelism.context_parallel_degree"},
    {"experimental.context_parallel_rotate_method", "parallelism.context_parallel_rotate_method"},
    {"experimental.enable_compiled_autograd", "", kDropped, "", "", true},
    {"parallelism.enable_compiled_autograd", "", kDropped, "", "", true},
    {"parallelism.pipeline_parallel_split_points", "parallelism.module_fqns_per_model_part", kRefused},
    {"parallelism.pipeline_parallel_microbatches", "parallelism.pipeline_parallel_microbatch_size", kRefused},

    {"checkpoint.enable_checkpoint", "checkpoint.enable"},
    {"checkpoint.interval_type", "checkpoint.interval", kOnly, "steps"},
    {"checkpoint.model_weights_only", "checkpoint.last_save_model_only"},
    {"checkpoint.last_save_model_weights_only", "checkpoint.last_save_model_only"},
    {"checkpoint.initial_load_model_weights_only", "checkpoint.initial_load_model_only"},

    {"float8.enable_float8_linear", "model.converters", kChoice, "float8", ""},
    {"float8.enable_fsdp_float8_all_gather", "quantize.linear.float8.enable_fsdp_float8_all_gather"},
    {"float8.precompute_float8_dynamic_scale_for_fsdp",
     "quantize.linear.float8.precompute_float8_dynamic_scale_for_fsdp"},
    {"float8.recipe_name", "quantize.linear.float8.recipe_name"},
    {"float8.filter_fqns", "quantize.linear.float8.filter_fqns"},
    {"float8.emulate", "quantize.linear.float8.emulate"},
    {"float8.moe_fqns_prototype", "quantize.grouped_mm.float8.fqns"},
    {"float8.force_recompute_fp8_weight_in_bwd", "", kDropped, "", "", true},
    {"float8.scaling_type_input", "quantize.linear.float8.recipe_name", kOnly, "dynamic"},
    {"float8.scaling_type_weight", "quantize.linear.float8.recipe_name", kOnly, "dynamic"},
    {"float8.scaling_type_grad_output", "quantize.linear.float8.recipe_name", kOnly, "dynamic"},
    {"mx.use_fp8_dim1_cast_triton_kernel", "quantize.linear.mx.mxfp8_dim1_cast_kernel_choice", kChoice, "triton",
     "torch"},
    {"mx.mxfp8_dim1_cast_kernel_choice", "quantize.linear.mx.mxfp8_dim1_cast_kernel_choice"},
    {"mx.recipe_name", "quantize.linear.mx.recipe_name"},
    {"mx.filter_fqns", "quantize.linear.mx.filter_fqns"},
    {"mx.moe_fqns_prototype", "quantize.grouped_mm.mx.fqns"},

    {"memory_estimation.enabled", "memory_estimation.enable"},
    {"validation.enabled", "validation.enable"},
    {"fault_tolerance.sync_steps", "", kDropped},
    {"fault_tolerance.should_quantize", "", kDropped, "", "", true},
    {"fault_tolerance.fragment_sync_delay", "", kDropped},
    {"fault_tolerance.fragment_update_alpha", "", kDropped},
    {"liger_kernel.enable_fused_linear_cross_entropy", "", kDropped, "", "", true},
};

}  // namespace

std::span<const RenamedKey> renamed_keys() { return kRenamedKeys; }

const RenamedKey* find_renamed(std::string_view key) {
  for (const RenamedKey& renamed : kRenamedKeys) {
    if (renamed.from == key) return &renamed;
  }
  return nullptr;
}

}  // namespace titan::config
