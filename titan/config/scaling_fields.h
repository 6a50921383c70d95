// The keys of how a job is spread, saved and sped up: parallelism, checkpoint, activation_checkpoint, compile,
// quantize, comm, memory_estimation, fault_tolerance, experimental. One list per struct; included by fields.cpp only.
#pragma once

#include "titan/config/fields.h"

namespace titan::config {

constexpr double kMaxDegree = 1 << 24;

template <class Visitor>
void visit_fields(Parallelism& s, Visitor&& field) {
  const Attributes degree = within(1, kMaxDegree) | not_yet();
  const Attributes of_pp = part_of("parallelism.pipeline_parallel_degree");
  const Attributes of_ep = not_yet() | part_of("parallelism.expert_parallel_degree");

  field("data_parallel_replicate_degree", s.data_parallel_replicate_degree,
        "Copies of the weights (DDP; with sharding besides, HSDP).", within(1, kMaxDegree));
  field("data_parallel_shard_degree", s.data_parallel_shard_degree,
        "Ranks over which weights are sharded (FSDP); -1: all that the other degrees leave.",
        within(1, kMaxDegree) | special(-1));
  field("fsdp_reshard_after_forward", s.fsdp_reshard_after_forward,
        "Whether gathered weights are freed between forward and backward; default decides by the layout.",
        one_of({"default", "always", "never"}));
  field("tensor_parallel_degree", s.tensor_parallel_degree, "Ranks over which single matrices are split.",
        within(1, kMaxDegree));
  field("disable_loss_parallel", s.disable_loss_parallel, "Under tensor parallel, gather the logits before the loss.");
  field("enable_async_tensor_parallel", s.enable_async_tensor_parallel,
        "Overlap tensor parallel communication with the matrix products; needs sequence parallel.");
  field("pipeline_parallel_degree", s.pipeline_parallel_degree, "Ranks over which layers are spread as stages.",
        within(1, kMaxDegree));
  field("module_fqns_per_model_part", s.module_fqns_per_model_part,
        "The modules of each stage by name: a list of lists; in flags, lists by `;`, names by `,`.", of_pp);
  field("pipeline_parallel_first_stage_less_layers", s.pipeline_parallel_first_stage_less_layers,
        "Layers the first stage has less, because it has the embedding.", at_least(0) | of_pp);
  field("pipeline_parallel_last_stage_less_layers", s.pipeline_parallel_last_stage_less_layers,
        "Layers the last stage has less, because it has the output layer.", at_least(0) | of_pp);
  field("pipeline_parallel_layers_per_stage", s.pipeline_parallel_layers_per_stage,
        "Layers of one stage; unset, they follow from the schedule and the degree.", at_least(1) | of_pp);
  field("pipeline_parallel_schedule", s.pipeline_parallel_schedule, "Order of forwards and backwards.",
        one_of({"1F1B", "GPipe", "Interleaved1F1B", "LoopedBFS", "InterleavedZeroBubble", "ZBVZeroBubble", "DualPipeV",
                "PipelineScheduleSingle", "PipelineScheduleMulti"}) |
            any_case() | of_pp);
  field("pipeline_parallel_schedule_csv", s.pipeline_parallel_schedule_csv,
        "File with a schedule of one's own, for PipelineScheduleSingle and PipelineScheduleMulti.", of_pp);
  field("pipeline_parallel_microbatch_size", s.pipeline_parallel_microbatch_size,
        "Samples in one micro-batch; training.local_batch_size is split into such.", within(1, kMaxDegree) | of_pp);
  field("pipeline_parallel_expert_parallel_overlap", s.pipeline_parallel_expert_parallel_overlap,
        "Overlap expert and pipeline communication (DualPipeV only).",
        accepted() | part_of("parallelism.expert_parallel_degree"));
  field("context_parallel_degree", s.context_parallel_degree, "Ranks over which a sequence is split.",
        within(1, kMaxDegree));
  field("context_parallel_load_balancer", s.context_parallel_load_balancer,
        "How positions are dealt to ranks; None: in order.",
        one_of({"headtail", "ptrr"}) | not_yet() | works_with({"headtail"}) |
            part_of("parallelism.context_parallel_degree"));
  field("context_parallel_rotate_method", s.context_parallel_rotate_method,
        "How ranks exchange keys and values: all at once, or round a ring, with memory for two ranks' only.",
        one_of({"allgather", "alltoall"}));
  field("expert_parallel_degree", s.expert_parallel_degree, "Ranks over which experts are spread.", degree);
  field("expert_tensor_parallel_degree", s.expert_tensor_parallel_degree,
        "Ranks over which one expert is split: 1 or parallelism.tensor_parallel_degree.",
        within(1, kMaxDegree) | of_ep);
  field("expert_parallel_comm_backend", s.expert_parallel_comm_backend, "Who moves tokens to experts.",
        one_of({"standard", "deepep"}) | of_ep);
  field("disable_sequence_parallel", s.disable_sequence_parallel,
        "Under tensor parallel, keep activations between blocks whole on every rank.", ours());
}

template <class Visitor>
void visit_fields(Checkpoint& s, Visitor&& field) {
  field("enable", s.enable, "Save checkpoints, and resume from the latest one that is there.");
  field("enable_ft_dataloader_checkpoints", s.enable_ft_dataloader_checkpoints,
        "Save the place in the data of each fault-tolerant replica.", not_yet() | part_of("fault_tolerance.enable"));
  field("folder", s.folder, "Folder of the checkpoints, under job.dump_folder.");
  field("interval", s.interval, "Steps from one checkpoint to the next.", at_least(1));
  field("initial_load_path", s.initial_load_path,
        "A checkpoint to start from where checkpoint.folder has none: a folder of PyTorch's DCP or of safetensors.");
  field("initial_load_model_only", s.initial_load_model_only,
        "Take only the weights from checkpoint.initial_load_path, not optimizer, schedule and place in the data.");
  field("initial_load_in_hf", s.initial_load_in_hf,
        "The initial checkpoint has Hugging Face's names and layout; without a path, model.hf_assets_path.");
  field("initial_load_in_hf_quantized", s.initial_load_in_hf_quantized,
        "The initial checkpoint's weights are quantized.", not_yet());
  field("last_save_model_only", s.last_save_model_only, "The last checkpoint holds the weights only.");
  field("last_save_in_hf", s.last_save_in_hf, "The last checkpoint has Hugging Face's names and layout.");
  field("export_dtype", s.export_dtype, "What the weights of a last checkpoint of weights only are stored in.",
        one_of({"float16", "bfloat16", "float32"}));
  field("async_mode", s.async_mode, "Whether training goes on while a checkpoint is written.",
        one_of({"disabled", "async", "async_with_pinned_mem"}));
  field("keep_latest_k", s.keep_latest_k, "Checkpoints that are kept, the oldest go first; 0: all, 1 is not allowed.",
        at_least(0));
  field("load_step", s.load_step, "Resume from this step's checkpoint; -1: from the latest.", at_least(-1));
  field("exclude_from_loading", s.exclude_from_loading, "Parts of a checkpoint that are not loaded.",
        one_of({"model", "optimizer", "lr_scheduler", "dataloader", "train_state"}));
  field("enable_first_step_checkpoint", s.enable_first_step_checkpoint,
        "Save after the first step too, to see early that saving works.");
  field("create_seed_checkpoint", s.create_seed_checkpoint, "Save the initial weights as step 0 and end.");
  field("load_only", s.load_only, "Load, but save nothing.");
  field("on_corrupt", s.on_corrupt, "What to do when the latest checkpoint is damaged: stop, or take the one before.",
        one_of({"stop", "previous"}) | ours());
  field("on_save_error", s.on_save_error,
        "What to do when a checkpoint cannot be written: stop, or warn and train on without it.",
        one_of({"stop", "warn"}) | ours());
}

template <class Visitor>
void visit_fields(ActivationCheckpoint& s, Visitor&& field) {
  field("mode", s.mode,
        "Which activations are computed again in the backward instead of kept; auto (by memory) and offload are ours.",
        one_of({"none", "selective", "full", "memory_budget", "auto", "offload"}));
  field("selective_ac_option", s.selective_ac_option,
        "Of mode selective: a number n for every n-th block, or op for single operators.");
  field("per_op_sac_force_recompute_mm_shapes_by_fqns", s.per_op_sac_force_recompute_mm_shapes_by_fqns,
        "Of option op: matrix products shaped like these linears' are always computed again.");
  field("early_stop", s.early_stop, "Stop recomputing once all that is needed is there.");
  field("memory_budget", s.memory_budget, "Of mode memory_budget: 0 keeps least, 1 keeps all.", within(0, 1));
  field("visualize_memory_budget_pareto", s.visualize_memory_budget_pareto,
        "Draw run time against memory for budgets from 0 to 1, into memory_budget_pareto/ of job.dump_folder.");
  field("preserve_rng_state", s.preserve_rng_state, "Random operators draw the same numbers when computed again.");
  field("determinism_check", s.determinism_check,
        "How recomputed tensors are compared with the first ones: default (shape, dtype, device) or none.",
        one_of({"default", "none"}));
  field("debug", s.debug, "Say which operators ran each time when recomputation differs.");
}

template <class Visitor>
void visit_fields(Compile& s, Visitor&& field) {
  field("enable", s.enable, "Compile what compile.components names.", accepted());
  field("components", s.components, "What is compiled.",
        one_of({"model", "loss"}) | accepted() | part_of("compile.enable"));
  field("backend", s.backend, "Who compiles.", accepted() | part_of("compile.enable"));
}

// Keys of a converter work when model.converters names it; until then that key is refused, and these ask for nothing.
inline Attributes of_converter() { return not_yet() | part_of("model.converters"); }

template <class Visitor>
void visit_fields(Float8Linear& s, Visitor&& field) {
  field("enable_fsdp_float8_all_gather", s.enable_fsdp_float8_all_gather, "Gather sharded weights as float8.",
        of_converter());
  field("precompute_float8_dynamic_scale_for_fsdp", s.precompute_float8_dynamic_scale_for_fsdp,
        "Compute the scales of all sharded weights in one reduction.", of_converter());
  field("recipe_name", s.recipe_name, "Granularity of the scales.",
        one_of({"tensorwise", "rowwise", "rowwise_with_gw_hp"}) | of_converter());
  field("filter_fqns", s.filter_fqns, "Linears whose names contain one of these stay as they are.", of_converter());
  field("emulate", s.emulate, "Compute in higher precision what float8 hardware would.", of_converter());
}

template <class Visitor>
void visit_fields(MXLinear& s, Visitor&& field) {
  field("mxfp8_dim1_cast_kernel_choice", s.mxfp8_dim1_cast_kernel_choice, "Which kernel casts along dim 1.",
        one_of({"triton", "cuda", "torch"}) | of_converter());
  field("recipe_name", s.recipe_name, "Which MX recipe.", of_converter());
  field("filter_fqns", s.filter_fqns, "Linears whose names contain one of these stay as they are.", of_converter());
}

template <class Visitor>
void visit_fields(QuantizedLinear& s, Visitor&& field) {
  field("float8", s.float8, "Linears in float8.");
  field("mx", s.mx, "Linears in MX formats.");
}

template <class Visitor>
void visit_fields(Float8GroupedMM& s, Visitor&& field) {
  field("fqns", s.fqns, "Expert layers whose grouped products run in float8.", of_converter());
}

template <class Visitor>
void visit_fields(MXGroupedMM& s, Visitor&& field) {
  field("recipe_name", s.recipe_name, "Which MX recipe.", one_of({"mxfp8"}) | of_converter());
  field("fqns", s.fqns, "Expert layers whose grouped products run in MX formats.", of_converter());
}

template <class Visitor>
void visit_fields(QuantizedGroupedMM& s, Visitor&& field) {
  field("float8", s.float8, "Grouped products in float8.");
  field("mx", s.mx, "Grouped products in MX formats.");
}

template <class Visitor>
void visit_fields(Quantize& s, Visitor&& field) {
  field("linear", s.linear, "Quantized linears.");
  field("grouped_mm", s.grouped_mm, "Quantized products of experts.");
}

template <class Visitor>
void visit_fields(Comm& s, Visitor&& field) {
  field("init_timeout_seconds", s.init_timeout_seconds, "How long a collective may take until the first step is done.",
        within(1, kMaxDegree));
  field("train_timeout_seconds", s.train_timeout_seconds, "How long a collective may take after the first step.",
        within(1, kMaxDegree));
  field("trace_buf_size", s.trace_buf_size,
        "Operations between ranks that the flight recorder of each rank remembers; 0: it is off.", at_least(0));
  field("save_traces_folder", s.save_traces_folder, "Folder of the flight recorder's dumps, under job.dump_folder.");
  field("save_traces_file_prefix", s.save_traces_file_prefix, "How the dumps' names begin; the rank follows.");
  field("mode", s.mode, "Real communication, none (dry run), or all ranks simulated by one process.",
        one_of({"default", "fake_backend", "local_tensor"}) | not_yet() | works_with({"default", "fake_backend"}));
  field("cpu_backend", s.cpu_backend,
        "What tensors on CPUs travel through: shared memory, which is for ranks of one host, Gloo, or whichever fits "
        "each group of ranks.",
        one_of({"auto", "shm", "gloo"}) | ours());
}

template <class Visitor>
void visit_fields(MemoryEstimation& s, Visitor&& field) {
  field("enable", s.enable, "Estimate the memory of a sharded run instead of training.", not_yet());
  field("disable_fake_mode", s.disable_fake_mode, "Estimate with real tensors.",
        not_yet() | part_of("memory_estimation.enable"));
}

template <class Visitor>
void visit_fields(FaultTolerance& s, Visitor&& field) {
  const Attributes of_ft = not_yet() | part_of("fault_tolerance.enable");

  field("enable", s.enable, "Train with replicas that may come and go.", not_yet());
  field("process_group", s.process_group, "What replicas talk through.", one_of({"gloo", "nccl"}) | of_ft);
  field("process_group_timeout_ms", s.process_group_timeout_ms, "How long replicas wait for each other, in ms.",
        at_least(1) | of_ft);
  field("replica_id", s.replica_id, "Which replica this is.", at_least(0) | of_ft);
  field("group_size", s.group_size, "Number of replicas.", at_least(0) | of_ft);
  field("min_replica_size", s.min_replica_size, "Replicas that a step needs at least.", at_least(1) | of_ft);
  field("semi_sync_method", s.semi_sync_method, "Let replicas drift for some steps, by this method.",
        one_of({"local_sgd", "diloco"}) | of_ft);
}

template <class Visitor>
void visit_fields(Experimental& s, Visitor&& field) {
  field("custom_import", s.custom_import,
        "Shared library with models of its own (in TorchTitan a Python module): docs/extending.md.");
  field("custom_args_module", s.custom_args_module, "Old name of job.custom_config_module.", not_yet());
}

}  // namespace titan::config
