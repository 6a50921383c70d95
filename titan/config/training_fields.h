// The keys of what is trained, on what and how: job, profiling, metrics, model, optimizer, lr_scheduler, training,
// validation, debug, data. One list per struct, nested structs last, as TOML wants its tables; included by fields.cpp
// only, which makes the table of them.
#pragma once

#include <limits>

#include "titan/config/fields.h"

namespace titan::config {

// [Note: bounds on sizes] Batch sizes and lengths end here, so that products of two of them fit int64_t.
constexpr double kMaxSize = 2147483647;
constexpr double kMaxInt = 9007199254740992;  // 2^53: bounds are doubles, and up to here they are exact

template <class Visitor>
void visit_fields(Job& s, Visitor&& field) {
  field("config_file", s.config_file, "TOML file to read; the command line goes over it.");
  field("dump_folder", s.dump_folder, "Folder under which everything the run writes is kept.");
  field("description", s.description, "A few words about the run, for people.");
  field("print_config", s.print_config, "Print the effective configuration before training.");
  field("save_config_file", s.save_config_file,
        "Write the effective configuration, as TOML, to this file under job.dump_folder.");
  field("custom_config_module", s.custom_config_module,
        "Python module with further keys; a C++ program cannot import one.", not_yet());
}

template <class Visitor>
void visit_fields(Profiling& s, Visitor&& field) {
  field("enable_profiling", s.enable_profiling, "Record Kineto traces of some steps.", not_yet());
  field("save_traces_folder", s.save_traces_folder, "Folder of the traces, under job.dump_folder.",
        not_yet() | part_of("profiling.enable_profiling"));
  field("profile_freq", s.profile_freq, "Steps from one recorded cycle to the next.",
        at_least(1) | not_yet() | part_of("profiling.enable_profiling"));
  field("profiler_active", s.profiler_active, "Steps recorded in each cycle.",
        at_least(1) | not_yet() | part_of("profiling.enable_profiling"));
  field("profiler_warmup", s.profiler_warmup, "Steps that the profiler warms up before it records.",
        at_least(0) | not_yet() | part_of("profiling.enable_profiling"));
  field("enable_memory_snapshot", s.enable_memory_snapshot, "Dump snapshots of the GPU memory's allocator.", not_yet());
  field("save_memory_snapshot_folder", s.save_memory_snapshot_folder, "Folder of the snapshots, under job.dump_folder.",
        not_yet() | part_of("profiling.enable_memory_snapshot"));
}

template <class Visitor>
void visit_fields(Metrics& s, Visitor&& field) {
  field("log_freq", s.log_freq, "Steps from one logged step to the next; the first step is always logged.",
        at_least(1));
  field("enable_tensorboard", s.enable_tensorboard, "Write TensorBoard events.");
  field("disable_color_printing", s.disable_color_printing, "Log without colours.");
  field("save_tb_folder", s.save_tb_folder, "Folder of the TensorBoard events, under job.dump_folder.");
  field("save_for_all_ranks", s.save_for_all_ranks, "Write metrics of every rank instead of the logging rank's.",
        accepted());
  field("enable_wandb", s.enable_wandb, "Send metrics to Weights & Biases.", not_yet());
}

template <class Visitor>
void visit_fields(RopeScalingArgs& s, Visitor&& field) {
  field("scaling_factor", s.scaling_factor, "By how much low rotary frequencies are slowed down.", above(0) | ours());
  field("low_freq_factor", s.low_freq_factor,
        "Frequencies with wavelengths above the original length over this are scaled in full.", above(0) | ours());
  field("high_freq_factor", s.high_freq_factor,
        "Frequencies with wavelengths below the original length over this are left alone.", above(0) | ours());
  field("original_max_position_embeddings", s.original_max_position_embeddings,
        "The sequence length before the frequencies were scaled.", within(1, kMaxSize) | ours());
}

template <class Visitor>
void visit_fields(ModelArgs& s, Visitor&& field) {
  field("dim", s.dim, "Width of the hidden states.", within(1, kMaxSize) | ours());
  field("n_layers", s.n_layers, "Number of transformer blocks.", within(1, 1000000) | ours());
  field("n_heads", s.n_heads, "Number of query heads.", within(1, kMaxSize) | ours());
  field("n_kv_heads", s.n_kv_heads, "Number of key and value heads.", within(1, kMaxSize) | ours());
  field("head_dim", s.head_dim, "Width of a head, of models where it is not dim / n_heads.",
        within(1, kMaxSize) | ours());
  field("hidden_dim", s.hidden_dim, "The FFN's hidden size, of models where it does not follow from dim.",
        within(1, kMaxSize) | ours());
  field("vocab_size", s.vocab_size, "Rows of the embedding and of the output layer.", within(1, kMaxSize) | ours());
  field("multiple_of", s.multiple_of, "The FFN's hidden size is rounded up to a multiple of this.",
        within(1, kMaxSize) | ours());
  field("ffn_dim_multiplier", s.ffn_dim_multiplier, "Factor on the FFN's hidden size, before it is rounded.",
        above(0) | ours());
  field("norm_eps", s.norm_eps, "Added to the mean square inside RMSNorm.", above(0) | ours());
  field("rope_theta", s.rope_theta, "Base of the rotary frequencies.", above(0) | ours());
  field("max_seq_len", s.max_seq_len, "Longest sequence the rotary table is made for.", within(1, kMaxSize) | ours());
  field("depth_init", s.depth_init, "Initialise output projections by their own layer's depth, not by the model's.",
        ours());
  field("enable_weight_tying", s.enable_weight_tying, "The output layer uses the embedding's weights.", ours());
  field(
      "attn_mask_type", s.attn_mask_type,
      "Which tokens attend to each other: causal, or block_causal: within their document, where positions begin anew.",
      one_of({"causal", "block_causal"}) | ours());
  field("sliding_window", s.sliding_window, "How many tokens, up to itself, each attends to; 0: all.",
        within(0, kMaxSize) | ours());
  field("rope_scaling_args", s.rope_scaling_args, "Llama 3.1's scaling of the rotary frequencies.");
}

template <class Visitor>
void visit_fields(Model& s, Visitor&& field) {
  field("name", s.name, "Which model.",
        one_of({"llama3", "llama3_ft", "llama4", "qwen3", "deepseek_v3", "gpt_oss", "flux"}) | not_yet() |
            works_with({"llama3", "qwen3"}) | open_with("experimental.custom_import"));
  field("flavor", s.flavor, "Which of the model's sizes; model.args.* changes single ones.");
  field("hf_assets_path", s.hf_assets_path,
        "Folder in Hugging Face's layout: tokenizer.json, tokenizer_config.json, perhaps config.json and weights.");
  field("tokenizer_path", s.tokenizer_path, "Old name of model.hf_assets_path, which takes its value.");
  field("converters", s.converters, "What is done to the model before it is parallelized, by name.",
        one_of({"float8", "mx", "quantize.linear.float8", "quantize.linear.mx", "quantize.grouped_mm.float8",
                "quantize.grouped_mm.mx"}) |
            not_yet());
  field("print_after_conversion", s.print_after_conversion, "Print the model after model.converters were applied.",
        not_yet() | part_of("model.converters"));
  field("args", s.args, "Sizes in place of the flavour's.");
}

template <class Visitor>
void visit_fields(Optimizer& s, Visitor&& field) {
  field("name", s.name, "The algorithm.", one_of({"AdamW", "Adam"}));
  field("lr", s.lr, "Peak learning rate.", at_least(0));
  field("beta1", s.beta1, "Decay of the running mean of gradients.", from_up_to(0, 1));
  field("beta2", s.beta2, "Decay of the running mean of squared gradients.", from_up_to(0, 1));
  field("eps", s.eps, "Added to the denominator of an update.", at_least(0));
  field("weight_decay", s.weight_decay, "Weight decay: decoupled in AdamW, added to the gradient in Adam.",
        at_least(0));
  field("implementation", s.implementation,
        "How a step is computed, not what it computes; fused_opt_states_bf16 (ours) also keeps the states in bf16.",
        one_of({"for-loop", "foreach", "fused", "fused_opt_states_bf16"}) | not_yet() |
            works_with({"for-loop", "foreach", "fused"}));
  field("early_step_in_backward", s.early_step_in_backward,
        "Update a parameter as soon as its gradient is there, without clipping.", not_yet());
}

template <class Visitor>
void visit_fields(LRScheduler& s, Visitor&& field) {
  field("warmup_steps", s.warmup_steps, "Steps over which the rate rises linearly to optimizer.lr.",
        within(0, kMaxInt));
  field("total_steps", s.total_steps, "Length of the schedule in steps; unset, training.steps.", within(1, kMaxInt));
  field("decay_ratio", s.decay_ratio,
        "Share of the schedule, at its end, in which the rate decays; unset, it decays from the end of the warm-up.",
        within(0, 1));
  field("decay_type", s.decay_type, "Shape of the decay.", one_of({"linear", "sqrt", "cosine"}));
  field("min_lr_factor", s.min_lr_factor, "The rate never decays below this share of optimizer.lr.", within(0, 1));
}

template <class Visitor>
void visit_fields(DataLoader& s, Visitor&& field) {
  field("num_workers", s.num_workers, "Processes that load data in TorchTitan; here threads do.",
        within(0, 65536) | accepted());
  field("persistent_workers", s.persistent_workers, "Keep the workers from one epoch to the next.", accepted());
  field("pin_memory", s.pin_memory, "Put batches into pinned memory.", accepted());
  field("prefetch_factor", s.prefetch_factor, "Batches that each worker loads ahead.", within(1, 65536) | accepted());
}

// Names of TorchTitan's datasets, and of ours for any text.
inline Attributes dataset_names() { return one_of({"c4", "c4_test", "c4_validation", "jsonl", "text"}) | any_case(); }

template <class Visitor>
void visit_fields(Training& s, Visitor&& field) {
  field("dataset", s.dataset, "Name of the dataset; training.dataset_path says where it lies.", dataset_names());
  field("dataset_path", s.dataset_path,
        "A .json, .jsonl or .txt file, plain, .gz or .zst, or a folder of .json and .jsonl files.");
  field("local_batch_size", s.local_batch_size, "Samples in one forward pass of one rank.", within(1, kMaxSize));
  field("global_batch_size", s.global_batch_size,
        "Samples in one step over all ranks, by accumulation; -1: training.local_batch_size x data parallel degree.",
        within(1, kMaxInt) | special(-1));
  field("seq_len", s.seq_len, "Tokens in one sample.", within(1, kMaxSize));
  field("max_norm", s.max_norm, "Gradients are scaled down to this global norm; inf: no clipping.",
        above(0) | or_infinite());
  field("steps", s.steps, "Number of optimizer steps.", within(1, kMaxInt));
  field("enable_cpu_offload", s.enable_cpu_offload,
        "Keep sharded parameters, gradients and optimizer states in host memory, and update them there.");
  field("dtype", s.dtype, "What parameters, gradients and optimizer states are kept in.",
        one_of({"float32", "bfloat16"}));
  field("mixed_precision_param", s.mixed_precision_param, "What forward and backward compute in.",
        one_of({"bfloat16", "float32"}));
  field("mixed_precision_reduce", s.mixed_precision_reduce, "What gradients are summed over ranks in.",
        one_of({"float32"}));
  field("gc_freq", s.gc_freq, "Steps between collections of Python's garbage; there is none here.",
        at_least(1) | accepted());
  field("gc_debug", s.gc_debug, "Look for reference cycles of Python objects; there are none here.", accepted());
  field("fp32_products", s.fp32_products,
        "Who multiplies fp32 matrices on a CPU: auto is its matrix unit (AMX), by exact splitting, where it has one.",
        one_of({"auto", "library"}) | ours());
  field("loss_chunks", s.loss_chunks, "The loss computes the logits in this many pieces, to save memory.",
        within(1, kMaxSize) | ours());
  field("on_nonfinite", s.on_nonfinite, "What to do when loss or gradient norm is not finite.",
        one_of({"stop"}) | ours());
  field("max_seconds", s.max_seconds, "End the run, as if all steps were done, after this time.", above(0) | ours());
  field("cuda_graphs", s.cuda_graphs, "Replay steps as CUDA graphs.", accepted() | ours());
  field("dataloader", s.dataloader, "How training data is loaded.");
}

template <class Visitor>
void visit_fields(Validation& s, Visitor&& field) {
  field("enable", s.enable, "Compute the loss on held-out data now and then.");
  field("dataset", s.dataset, "Name of the dataset; validation.dataset_path says where it lies.",
        dataset_names() | part_of("validation.enable"));
  field("dataset_path", s.dataset_path, "As training.dataset_path.", part_of("validation.enable"));
  field("local_batch_size", s.local_batch_size, "Samples in one forward pass of one rank.",
        within(1, kMaxSize) | part_of("validation.enable"));
  field("seq_len", s.seq_len, "Tokens in one sample.", within(1, kMaxSize) | part_of("validation.enable"));
  field("freq", s.freq, "Training steps from one validation to the next.", at_least(1) | part_of("validation.enable"));
  field("steps", s.steps, "Batches in one validation; -1: the whole dataset.",
        within(1, kMaxInt) | special(-1) | part_of("validation.enable"));
  field("dataloader", s.dataloader, "How validation data is loaded.");
}

template <class Visitor>
void visit_fields(Debug& s, Visitor&& field) {
  field("seed", s.seed, "Seed of everything random; unset, one is drawn.", within(0, kMaxInt));
  field("deterministic", s.deterministic, "Use deterministic algorithms only.");
  field("deterministic_warn_only", s.deterministic_warn_only,
        "Warn about an operation without a deterministic algorithm instead of failing.",
        accepted() | part_of("debug.deterministic"));
  field("moe_force_load_balance", s.moe_force_load_balance, "Give every expert equally many tokens.", not_yet());
}

template <class Visitor>
void visit_fields(Data& s, Visitor&& field) {
  field("shuffle", s.shuffle, "Shuffle the documents by debug.seed, anew each epoch.", ours());
  field("on_error", s.on_error, "What to do about a broken line of data.", one_of({"stop", "skip"}) | ours());
  field("log_samples", s.log_samples, "Write the indices of each step's samples to <dump_folder>/samples/rank_N.jsonl.",
        ours());
}

}  // namespace titan::config
