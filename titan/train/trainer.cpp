#include "titan/train/trainer.h"

#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "titan/checkpoint/checkpointer.h"
#include "titan/config/check.h"
#include "titan/logging/logger.h"
#include "titan/loss/cross_entropy.h"
#include "titan/metrics/progress.h"
#include "titan/nn/init.h"
#include "titan/optim/grad_norm.h"
#include "titan/tokenizer/tokenizer.h"
#include "titan/train/stop_request.h"

namespace titan::train {
namespace {

// A run without debug.seed is reproducible too.
constexpr int64_t kDefaultSeed = 0;

uint64_t seed_of(const config::JobConfig& job) { return static_cast<uint64_t>(job.debug.seed.value_or(kDefaultSeed)); }

}  // namespace

Trainer::Trainer(const config::JobConfig& job, const models::ModelSpec& spec)
    : job_(job),
      global_batch_size_(config::global_batch_size(job, /*world_size=*/1)),
      device_(at::kCPU),
      schedule_(job.lr_scheduler, job.training.steps) {
  logging::info("Starting job: {}", job_.job.description);
  for (const std::string& warning : schedule_.warnings()) logging::warning("{}", warning);
  at::globalContext().setDeterministicAlgorithms(job_.debug.deterministic, job_.debug.deterministic_warn_only);

  tokenizer_ = std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(job_.model.hf_assets_path));
  TORCH_CHECK_VALUE(tokenizer_->vocab_size() <= spec.vocab_size(job_), "model.hf_assets_path: the tokenizer in '",
                    job_.model.hf_assets_path, "' has ", tokenizer_->vocab_size(),
                    " ids, but the model has embeddings for ", spec.vocab_size(job_),
                    "; set model.args.vocab_size or use another tokenizer");
  build_model(spec);
  optimizer_ = std::make_unique<optim::Adam>(model_->parameters(), optim::adam_options_from(job_.optimizer));
  if (job_.validation.enable) {
    validator_ = std::make_unique<Validator>(
        job_, [tokenizer = tokenizer_](std::string_view text) { return tokenizer->encode_document(text); });
  }
  if (job_.checkpoint.enable) {
    checkpointer_ = std::make_unique<checkpoint::Checkpointer>(job_.checkpoint, job_.job.dump_folder,
                                                               job_.model.hf_assets_path, spec.hugging_face(job_));
    load_checkpoint();
  }
  logging::info(
      "Trainer is initialized with local batch size {}, global batch size {}, gradient accumulation steps {}, "
      "sequence length {}, total steps {} (warmup {})",
      job_.training.local_batch_size, global_batch_size_, global_batch_size_ / job_.training.local_batch_size,
      job_.training.seq_len, job_.training.steps, schedule_.warmup_steps());
}

Trainer::~Trainer() = default;

void Trainer::build_model(const models::ModelSpec& spec) {
  logging::info("Building {} {} with {}", job_.model.name, job_.model.flavor, spec.describe(job_));
  // [Note: meta init] Nothing is allocated until every technique has had its say about what this rank holds.
  model_ = spec.build(job_);
  int64_t num_parameters = 0;
  for (const nn::Parameter* parameter : model_->parameters()) num_parameters += parameter->get().numel();
  logging::info("Model {} {} size: {} total parameters", job_.model.name, job_.model.flavor,
                metrics::group_thousands(static_cast<double>(num_parameters), 0));
  const double flops_per_token = model_->flops_per_token(job_.training.seq_len);

  spec.parallelize(*model_, job_);
  model_->to_empty(device_);
  model_->init_weights(nn::Initializer(seed_of(job_)));

  metrics_ = std::make_unique<metrics::MetricsLogger>(
      job_.metrics,
      metrics::MetricsLoggerOptions{.dump_folder = job_.job.dump_folder, .flops_per_token = flops_per_token});
}

checkpoint::TrainState Trainer::state() const {
  checkpoint::TrainState state;
  for (const nn::Parameter* parameter : model_->parameters()) state.model[parameter->fqn()] = parameter->get().detach();
  state.optimizer = optimizer_->state();
  state.counters = {{"train_state.step", step_},
                    {"train_state.ntokens_seen", num_tokens_seen_},
                    {"lr_scheduler.last_epoch", schedule_step_},
                    {"dataloader.next_sample", next_sample_}};
  return state;
}

void Trainer::load_checkpoint() {
  const std::optional<checkpoint::LoadSource> source = checkpointer_->find_source();
  if (!source.has_value()) return;
  checkpoint::TrainState loaded = state();
  checkpointer_->load(*source, loaded);  // tensors in place
  step_ = loaded.counters.at("train_state.step");
  num_tokens_seen_ = loaded.counters.at("train_state.ntokens_seen");
  schedule_step_ = loaded.counters.at("lr_scheduler.last_epoch");
  next_sample_ = loaded.counters.at("dataloader.next_sample");
}

void Trainer::save_checkpoint(bool last_step) { checkpointer_->save(step_, state(), last_step); }

void Trainer::save_seed_checkpoint() {
  TORCH_CHECK_VALUE(checkpointer_ != nullptr,
                    "checkpoint.create_seed_checkpoint: needs checkpoint.enable; add --checkpoint.enable");
  save_checkpoint(/*last_step=*/true);
  logging::info("Created seed checkpoint");
}

void Trainer::start_data() {
  loader_ = std::make_unique<data::DataLoader>(
      data::TextDatasetOptions{.path = job_.training.dataset_path.value(),
                               .seq_len = job_.training.seq_len,
                               .shuffle = job_.data.shuffle,
                               .seed = seed_of(job_),
                               .on_error = job_.data.on_error == "skip" ? data::OnError::kSkip : data::OnError::kStop,
                               .name = job_.training.dataset},
      data::SampleSlice{.samples_per_step = global_batch_size_,
                        .rank_begin = 0,
                        .rank_count = global_batch_size_,
                        .microbatch_size = job_.training.local_batch_size,
                        .first_step = next_sample_ / global_batch_size_},
      [tokenizer = tokenizer_](std::string_view text) { return tokenizer->encode_document(text); });
}

void Trainer::train() {
  StopRequest stop(job_.training.max_seconds);
  start_data();
  logging::info("Training starts at step {}", step_ + 1);
  metrics_->start(step_);
  metrics::ProgressBar progress(step_, job_.training.steps);

  while (step_ < job_.training.steps) {
    ++step_;
    const StepResult result = train_step();
    if (metrics_->should_log(step_)) {
      metrics_->log({.step = step_,
                     .loss = result.loss,
                     .max_loss = result.loss,
                     .grad_norm = result.grad_norm,
                     .lr = result.lr,
                     .num_tokens_seen = num_tokens_seen_});
    }
    progress.update(step_);
    const bool last_step = step_ == job_.training.steps;
    const bool saved = checkpointer_ != nullptr && checkpointer_->should_save(step_, last_step);
    if (saved) save_checkpoint(last_step);
    if (validator_ != nullptr && validator_->should_validate(step_)) validate();
    if (const auto reason = stop.reason(); reason.has_value() && !last_step) {
      if (checkpointer_ != nullptr && !job_.checkpoint.load_only && !saved) save_checkpoint(/*last_step=*/false);
      logging::info("Stopped after step {}: {}", step_, *reason);
      return;
    }
  }
  logging::info("Training completed");
}

Trainer::StepResult Trainer::train_step() {
  optimizer_->zero_grad();
  const double lr = job_.optimizer.lr * schedule_.factor(schedule_step_);

  // 1. The step's data, and from it the number of tokens that the loss is a mean over: [Note: loss scaling].
  const std::vector<data::Batch> microbatches = next_microbatches();
  int64_t num_valid_tokens = 0;
  for (const data::Batch& batch : microbatches) num_valid_tokens += loss::count_valid_tokens(batch.labels);
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(num_valid_tokens, 1));

  // 2. Forward and backward; gradients and losses of the micro-batches add up.
  StepResult result{.loss = 0, .grad_norm = 0, .lr = lr};
  for (const data::Batch& batch : microbatches) {
    const at::Tensor hidden = (*model_)(batch.input.to(device_));
    const at::Tensor loss = loss::chunked_cross_entropy(hidden, batch.labels.to(device_), *model_->output_layer(),
                                                        scale, job_.training.loss_chunks);
    loss.backward();
    result.loss += loss.item<double>();
  }

  // 3. Clip by the norm of the global gradient.
  const std::vector<at::Tensor> gradients = optimizer_->gradients();
  result.grad_norm = optim::global_norm(gradients);
  check_finite(result);
  optim::clip_by_norm(gradients, result.grad_norm, job_.training.max_norm);

  // 4. Update.
  optimizer_->step(lr);
  ++schedule_step_;
  next_sample_ += global_batch_size_;
  return result;
}

std::vector<data::Batch> Trainer::next_microbatches() {
  std::vector<data::Batch> microbatches;
  for (int64_t i = 0; i < global_batch_size_ / job_.training.local_batch_size; ++i) {
    const auto start = std::chrono::steady_clock::now();
    std::optional<data::Batch> batch = loader_->next();
    TORCH_INTERNAL_ASSERT(batch.has_value(), "an endless dataset ended");
    metrics_->add_data_loading(std::chrono::steady_clock::now() - start);
    metrics_->add_tokens(batch->labels.numel());
    num_tokens_seen_ += batch->labels.numel();
    microbatches.push_back(std::move(*batch));
  }
  return microbatches;
}

void Trainer::check_finite(const StepResult& result) const {
  TORCH_CHECK(std::isfinite(result.loss) && std::isfinite(result.grad_norm), "step ", step_, ": loss is ", result.loss,
              " and grad_norm ", result.grad_norm,
              "; stopped before the optimizer step. Lower optimizer.lr, or look at the data of this step");
}

void Trainer::validate() {
  const Validator::Result result = validator_->validate(*model_);
  metrics_->add_tokens(result.num_tokens);
  metrics_->log_validation(step_, result.loss);
}

}  // namespace titan::train
