#include "titan/train/trainer.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>

#include "titan/checkpoint/checkpointer.h"
#include "titan/checkpoint/torchtitan_keys.h"
#include "titan/config/check.h"
#include "titan/distributed/collectives.h"
#include "titan/kernels/matrix_product.h"
#include "titan/logging/logger.h"
#include "titan/loss/cross_entropy.h"
#include "titan/metrics/progress.h"
#include "titan/nn/init.h"
#include "titan/optim/grad_norm.h"
#include "titan/tokenizer/tokenizer.h"
#include "titan/train/memory_use.h"
#include "titan/train/model_input.h"
#include "titan/train/sample_log.h"
#include "titan/train/stop_request.h"
#include "titan/train/whole_state.h"

namespace titan::train {
namespace {

using distributed::ReduceOp;

// A run without debug.seed is reproducible too.
constexpr int64_t kDefaultSeed = 0;

uint64_t seed_of(const config::JobConfig& job) { return static_cast<uint64_t>(job.debug.seed.value_or(kDefaultSeed)); }

// cuBLAS repeats itself only with a workspace of fixed size per stream; it reads this when it starts.
void make_deterministic(const config::Debug& debug) {
  at::globalContext().setDeterministicAlgorithms(debug.deterministic, debug.deterministic_warn_only);
  if (!debug.deterministic) return;
  at::globalContext().setDeterministicCuDNN(true);
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
}

// 1 where a value is infinite or NaN, else 0: [] float32.
at::Tensor any_nonfinite(const at::Tensor& values) { return values.isfinite().all().logical_not().to(at::kFloat); }

}  // namespace

Trainer::Trainer(const config::JobConfig& job, const models::ModelSpec& spec, std::shared_ptr<distributed::World> world,
                 device::ComputeDevice device)
    : job_(job),
      world_(std::move(world)),
      dims_(distributed::ParallelDims::from(job, world_->size())),
      mesh_(dims_.build_mesh(world_)),
      global_batch_size_(config::global_batch_size(job, world_->size())),
      compute_(std::move(device)),
      device_(compute_.device),
      schedule_(job.lr_scheduler, job.training.steps) {
  logging::info("Starting job: {}", job_.job.description);
  for (const std::string& warning : schedule_.warnings()) logging::warning("{}", warning);
  make_deterministic(job_.debug);
  kernels::use_matrix_unit_for_fp32(job_.training.fp32_products == "auto");

  const auto tokenizer =
      std::make_shared<const tokenizer::Tokenizer>(tokenizer::Tokenizer::load(job_.model.hf_assets_path));
  TORCH_CHECK_VALUE(tokenizer->vocab_size() <= spec.vocab_size(job_), "model.hf_assets_path: the tokenizer in '",
                    job_.model.hf_assets_path, "' has ", tokenizer->vocab_size(),
                    " ids, but the model has embeddings for ", spec.vocab_size(job_),
                    "; set model.args.vocab_size or use another tokenizer");
  if (spec.masks_documents(job_)) {
    TORCH_CHECK_VALUE(tokenizer->eos_id().has_value(), "model.hf_assets_path: the tokenizer in '",
                      job_.model.hf_assets_path,
                      "' has no eos_token, by which attention tells documents apart; name it in tokenizer_config.json, "
                      "or set model.args.attn_mask_type causal");
    document_end_ = *tokenizer->eos_id();
  }
  encode_document_ = [tokenizer](std::string_view text) { return tokenizer->encode_document(text); };
  try {
    build_model(spec);
    optimizer_ = std::make_unique<optim::Adam>(model_.parameters, optim::adam_options_from(job_.optimizer));
  } catch (const c10::OutOfMemoryError& error) {
    throw_with_holders(error, "set-up");
  }
  if (job_.validation.enable) {
    validator_ = std::make_unique<Validator>(
        job_, mesh_, ValidatorInput{encode_document_, document_end_, model_.own_tokens}, device_);
  }
  load_checkpoint(spec);
  logging::info(
      "Trainer is initialized with local batch size {}, global batch size {}, gradient accumulation steps {}, "
      "sequence length {}, total steps {} (warmup {})",
      job_.training.local_batch_size, global_batch_size_,
      global_batch_size_ / (job_.training.local_batch_size * dims_.batch()), job_.training.seq_len, job_.training.steps,
      schedule_.warmup_steps());
}

Trainer::~Trainer() = default;

void Trainer::build_model(const models::ModelSpec& spec) {
  logging::info("Building {} {} with {}", job_.model.name, job_.model.flavor, spec.describe(job_));
  // [Note: meta init] Nothing is allocated until every technique has had its say about what this rank holds.
  std::shared_ptr<models::LanguageModel> whole = spec.build(job_);
  int64_t num_parameters = 0;
  for (const nn::Parameter* parameter : whole->parameters()) num_parameters += parameter->get().numel();
  logging::info("Model {} {} size: {} total parameters", job_.model.name, job_.model.flavor,
                metrics::group_thousands(static_cast<double>(num_parameters), 0));
  const double flops_per_token = whole->flops_per_token(job_.training.seq_len);

  model_ = spec.parallelize(std::move(whole), job_, mesh_, device_);
  for (const auto& part : model_.parts) {
    part->to_empty(device_, model_.parameter_device);
    part->init_weights(nn::Initializer(seed_of(job_)));
  }

  metrics_ = std::make_unique<metrics::MetricsLogger>(
      job_.metrics,
      metrics::MetricsLoggerOptions{.dump_folder = job_.job.dump_folder,
                                    .rank = world_->rank(),
                                    .non_data_parallel_size = world_->size() / dims_.batch(),
                                    .flops_per_token = flops_per_token,
                                    .device_type = c10::DeviceTypeName(device_.type(), /*lower_case=*/true),
                                    .device_name = compute_.name,
                                    .memory = [device = device_] { return metrics::memory_of(device); },
                                    .reset_peak_memory = [device = device_] { metrics::reset_peak_memory(device); }});
}

models::LossFunction Trainer::loss_scaled_by(double scale) const {
  return [scale, num_chunks = job_.training.loss_chunks](const at::Tensor& hidden, const at::Tensor& labels,
                                                         nn::Linear& output) {
    return loss::chunked_cross_entropy(hidden, labels, output, scale, num_chunks);
  };
}

checkpoint::TrainState Trainer::state() const { return gather(own_state(), *mesh_.group("pp")); }

std::map<std::string, at::Tensor> Trainer::whole(const std::map<std::string, at::Tensor>& tensors) const {
  return gather(tensors, *mesh_.group("pp"));
}

checkpoint::TrainState Trainer::own_state() const {
  checkpoint::TrainState state;
  for (const nn::Parameter* parameter : model_.parameters) state.model[parameter->fqn()] = parameter->get().detach();
  state.optimizer = optimizer_->state();
  state.counters = counters_of({.step = step_,
                                .schedule_step = schedule_step_,
                                .next_sample = next_sample_,
                                .num_tokens_seen = num_tokens_seen_},
                               dims_.batch());
  return state;
}

void Trainer::set_state(const checkpoint::TrainState& state) {
  const checkpoint::TrainState own = own_state();
  scatter(state.model, own.model);
  scatter(state.optimizer, own.optimizer);
  set_position(position_from(state.counters, global_batch_size_));
}

void Trainer::set_position(const RunPosition& position) {
  step_ = position.step;
  schedule_step_ = position.schedule_step;
  next_sample_ = position.next_sample;
  num_tokens_seen_ = position.num_tokens_seen;
  loader_.reset();  // the next step starts one there
}

void Trainer::load_checkpoint(const models::ModelSpec& spec) {
  if (!job_.checkpoint.enable) return;
  std::optional<checkpoint::ForeignFormat> hugging_face;
  if (spec.hugging_face != nullptr) hugging_face = spec.hugging_face(job_);
  checkpointer_ = std::make_unique<checkpoint::Checkpointer>(
      job_.checkpoint, job_.job.dump_folder, job_.model.hf_assets_path, std::move(hugging_face), world_);
  checkpoint::TrainState state = own_state();
  const auto source = checkpointer_->load_newest(state);
  if (source.has_value()) set_position(position_from(state.counters, global_batch_size_));
}

void Trainer::save_checkpoint(bool last_step) {
  checkpoint::TrainState state = own_state();
  const double lr = job_.optimizer.lr * schedule_.factor(schedule_step_);
  state.for_others = checkpoint::torchtitan_values(job_.optimizer, state.model, lr, schedule_step_);
  checkpointer_->save(step_, state, last_step);
}

void Trainer::save_seed_checkpoint() {
  TORCH_CHECK_VALUE(checkpointer_ != nullptr,
                    "checkpoint.create_seed_checkpoint: needs checkpoint.enable; add --checkpoint.enable");
  save_checkpoint(/*last_step=*/true);
  logging::info("Created seed checkpoint");
}

void Trainer::start_sample_log() {
  if (!job_.data.log_samples) return;
  if (world_->rank() == 0) forget_samples_after(step_, job_.job.dump_folder);  // adding waits for the first collective
  const bool is_first_of_its_samples = mesh_.coordinate("pp") + mesh_.coordinate("cp") + mesh_.coordinate("tp") == 0;
  if (is_first_of_its_samples) sample_log_ = std::make_unique<SampleLog>(job_.job.dump_folder, world_->rank());
}

void Trainer::start_data() {
  const int64_t samples_per_rank = global_batch_size_ / dims_.batch();
  loader_ =
      std::make_unique<data::DataLoader>(data::TextDatasetOptions{.path = job_.training.dataset_path.value(),
                                                                  .seq_len = job_.training.seq_len,
                                                                  .shuffle = job_.data.shuffle,
                                                                  .seed = seed_of(job_),
                                                                  .on_error = data::on_error_from(job_.data.on_error),
                                                                  .document_end = document_end_,
                                                                  .name = job_.training.dataset},
                                         data::SampleSlice{.samples_per_step = global_batch_size_,
                                                           .rank_begin = mesh_.coordinate("batch") * samples_per_rank,
                                                           .rank_count = samples_per_rank,
                                                           .microbatch_size = job_.training.local_batch_size,
                                                           .first_sample = next_sample_},
                                         encode_document_);
}

void Trainer::train() {
  stop_request_ = std::make_unique<StopRequest>(job_.training.max_seconds);
  start_sample_log();
  logging::info("Training starts at step {}", step_ + 1);
  metrics_->start(step_);
  metrics::ProgressBar progress(step_, job_.training.steps);
  const int64_t first_step = step_ + 1;

  std::optional<StepUnderWay> under_way;
  while (step_ < job_.training.steps) {
    run_ahead(under_way, [&](StepUnderWay& step) { settle_and_log(step); });

    const bool last_step = step_ == job_.training.steps;
    const bool saves = job_.checkpoint.enable && !job_.checkpoint.load_only;
    const bool saves_now = saves && checkpointer_->should_save(step_, last_step);
    const bool validates_now = validator_ != nullptr && validator_->should_validate(step_);
    const bool stops = stop_after_this_step_ && !last_step;
    if (device_.is_cpu() || step_ == first_step || last_step || saves_now || validates_now || stops) {
      settle_and_log(*under_way);
      under_way.reset();
    }
    if (world_->rank() == 0) progress.update(step_);
    if (saves_now) save_checkpoint(last_step);
    if (saves) checkpointer_->check_save();
    if (validates_now) validate();
    if (stops) {
      if (saves && !saves_now) save_checkpoint(/*last_step=*/false);
      if (saves) checkpointer_->wait_for_save();
      logging::info("Stopped after step {}: {}", step_, stop_request_->reason().value_or("another rank was asked to"));
      return;
    }
  }
  if (loader_ != nullptr && loader_->num_skipped_lines() > 0) {
    logging::warning("data.on_error = skip: {} broken lines were skipped", loader_->num_skipped_lines());
  }
  logging::info("Training completed");
}

void Trainer::run_steps(int64_t num_steps, const std::function<void(const StepResult&)>& on_result) {
  const auto settle_and_tell = [&](StepUnderWay& step) { on_result(settle(step)); };
  std::optional<StepUnderWay> under_way;
  for (int64_t i = 0; i < num_steps; ++i) {
    run_ahead(under_way, settle_and_tell);
    if (device_.is_cpu() || i + 1 == num_steps) {
      settle_and_tell(*under_way);
      under_way.reset();
    }
  }
}

StepResult Trainer::step(StepObserver* observer) {
  StepUnderWay under_way = start_step(observer);
  return settle(under_way);
}

void Trainer::run_ahead(std::optional<StepUnderWay>& under_way, const SettleIt& settle_it) {
  StepUnderWay started = start_step(/*observer=*/nullptr);
  if (under_way.has_value()) settle_it(*under_way);  // the one before: [Note: running ahead]
  under_way.emplace(std::move(started));
}

Trainer::StepUnderWay Trainer::start_step(StepObserver* observer) {
  try {
    return enqueue_step(observer);
  } catch (const c10::OutOfMemoryError& error) {
    throw_with_holders(error, fmt::format("step {}", step_));
  }
}

Trainer::StepUnderWay Trainer::enqueue_step(StepObserver* observer) {
  if (loader_ == nullptr) start_data();
  ++step_;
  optimizer_->zero_grad();
  const double lr = job_.optimizer.lr * schedule_.factor(schedule_step_);

  // 1. The step's data, and from it the number of tokens that the loss is a mean over: [Note: loss scaling].
  std::vector<data::Batch> microbatches = next_microbatches();
  if (observer != nullptr) observer->on_batches(step_, microbatches);
  int64_t num_tokens = 0, local_valid_tokens = 0;
  std::vector<models::TokenBatch> batches;
  for (const data::Batch& batch : microbatches) {
    num_tokens += batch.labels.numel();
    const models::TokenBatch own = model_input(batch, model_.own_tokens);
    local_valid_tokens += loss::count_valid_tokens(own.labels);
    batches.push_back(upload(own, device_));
  }
  num_tokens_seen_ += num_tokens * dims_.batch();
  const int64_t num_valid_tokens = std::max<int64_t>(1, sum_over_ranks(local_valid_tokens));

  // 2. Forward and backward; gradients and losses of the micro-batches and ranks add up.
  const at::Tensor local_loss =
      model_.forward_backward->train(batches, loss_scaled_by(1.0 / static_cast<double>(num_valid_tokens)));

  // 3. The norm of the global gradient and the losses of all ranks.
  const std::map<std::string, at::Tensor> by_name = optimizer_->gradients();
  if (observer != nullptr) observer->on_gradients(step_, by_name);
  std::vector<at::Tensor> gradients;
  for (const auto& [name, gradient] : by_name) gradients.push_back(gradient);
  const at::Tensor norm = optim::global_norm(gradients, mesh_.group("pp").get());
  const auto loss_group = mesh_.group("loss");
  const at::Tensor loss = distributed::all_reduce(local_loss, ReduceOp::kSum, *loss_group).wait();
  const double local_scale =
      static_cast<double>(num_valid_tokens) / static_cast<double>(std::max<int64_t>(local_valid_tokens, 1));
  const at::Tensor max_loss =
      metrics_->should_log(step_)
          ? distributed::all_reduce(local_loss * local_scale, ReduceOp::kMax, *loss_group).wait()
          : loss;
  const at::Tensor results = at::stack({loss, max_loss, norm.to(device_)});
  StepUnderWay under_way{.step = step_,
                         .lr = lr,
                         .num_tokens = num_tokens,
                         .num_tokens_seen = num_tokens_seen_,
                         .results = device::Readback(results)};

  // 4. Clip and update, unless something is not finite: known here on a CPU, on a GPU only there.
  at::Tensor skip;
  const bool is_updated_there = !device_.is_cpu() && !model_.parameter_device.has_value();
  if (!is_updated_there || !optimizer_->skips_on_device()) {
    settle(under_way);  // throws
  } else {
    skip = any_nonfinite(results);
  }
  optim::clip_by_norm(gradients, norm, job_.training.max_norm);
  if (observer != nullptr) observer->on_clipped(step_, by_name);
  if (checkpointer_ != nullptr) checkpointer_->wait_until_copied();
  optimizer_->step(lr, skip);
  ++schedule_step_;
  next_sample_ += global_batch_size_;
  if (sample_log_ != nullptr) sample_log_->add(step_, microbatches);

  // Connections are made by now; from here on, a rank that does not answer is a failure soon.
  if (!timeout_reduced_) world_->set_timeout(std::chrono::seconds(job_.comm.train_timeout_seconds));
  timeout_reduced_ = true;
  return under_way;
}

StepResult Trainer::settle(StepUnderWay& under_way) const {
  const std::vector<double> results = under_way.results.wait();
  const StepResult result{.loss = results[0], .max_loss = results[1], .grad_norm = results[2], .lr = under_way.lr};
  TORCH_CHECK(std::isfinite(result.loss) && std::isfinite(result.grad_norm), "step ", under_way.step, ": loss is ",
              result.loss, " and grad_norm ", result.grad_norm,
              "; stopped before the optimizer step. Lower optimizer.lr, or look at the data of this step");
  return result;
}

void Trainer::settle_and_log(StepUnderWay& under_way) {
  const StepResult result = settle(under_way);
  metrics_->add_tokens(under_way.num_tokens);
  if (!metrics_->should_log(under_way.step)) return;
  metrics_->log({.step = under_way.step,
                 .loss = result.loss,
                 .max_loss = result.max_loss,
                 .grad_norm = result.grad_norm,
                 .lr = result.lr,
                 .num_tokens_seen = under_way.num_tokens_seen});
}

void Trainer::throw_with_holders(const c10::OutOfMemoryError& error, const std::string& when) const {
  const metrics::MemoryStats memory = metrics::memory_of(device_);
  std::vector<Holder> holders;
  std::map<std::string, at::Tensor> by_name, gradients;
  for (const nn::Parameter* parameter : model_.parameters) {
    by_name[parameter->fqn()] = parameter->get();
    if (parameter->get().grad().defined()) gradients[parameter->fqn()] = parameter->get().grad();
  }
  if (!by_name.empty()) {
    holders.push_back({"parameters", bytes_of(by_name, device_)});
    holders.push_back({"gradients", bytes_of(gradients, device_)});
  }
  if (optimizer_ != nullptr) holders.push_back({"optimizer states", bytes_of(optimizer_->state(), device_)});
  TORCH_CHECK_WITH(OutOfMemoryError, false,
                   describe_out_of_memory(error, when, compute_.name, memory.active_bytes, memory.capacity_bytes,
                                          std::move(holders)));
}

std::vector<data::Batch> Trainer::next_microbatches() {
  std::vector<data::Batch> microbatches;
  const int64_t samples_per_rank = global_batch_size_ / dims_.batch();
  for (int64_t i = 0; i < samples_per_rank / job_.training.local_batch_size; ++i) {
    const auto start = std::chrono::steady_clock::now();
    std::optional<data::Batch> batch = loader_->next();
    TORCH_INTERNAL_ASSERT(batch.has_value(), "an endless dataset ended");
    metrics_->add_data_loading(std::chrono::steady_clock::now() - start);
    microbatches.push_back(std::move(*batch));
  }
  return microbatches;
}

// The one collective of every step carries two sums: of the valid tokens, where one rank speaks for all that have the
// same tokens, and of the ranks that were asked to stop, so that all stop after the same step.
int64_t Trainer::sum_over_ranks(int64_t num_valid_tokens) {
  const bool speaks = mesh_.coordinate("pp") == 0 && mesh_.coordinate("tp") == 0;
  const bool stop = stop_request_ != nullptr && stop_request_->reason().has_value();
  const at::Tensor sums = distributed::all_reduce(at::tensor({speaks ? num_valid_tokens : 0, int64_t{stop}}, at::kLong),
                                                  ReduceOp::kSum, *mesh_.group())
                              .wait();
  stop_after_this_step_ = sums[1].item<int64_t>() > 0;
  return sums[0].item<int64_t>();
}

void Trainer::validate() {
  const Validator::Result result = validator_->validate(*model_.forward_backward, loss_scaled_by(1.0));
  metrics_->add_tokens(result.num_tokens);
  metrics_->log_validation(step_, result.loss);
}

}  // namespace titan::train
