#include "titan/metrics/metrics_logger.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "titan/logging/logger.h"
#include "titan/metrics/peak_flops.h"

namespace titan::metrics {
namespace {

// "20260131-2359", local time.
std::string folder_of_now() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M", &local);
  return text;
}

// Never overwrites: metrics.jsonl becomes the first free metrics.<n>.jsonl.
void move_aside(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return;
  for (int64_t n = 1;; ++n) {
    const std::filesystem::path aside = path.parent_path() / fmt::format("{}.{}.jsonl", path.stem().string(), n);
    if (std::filesystem::exists(aside)) continue;
    return std::filesystem::rename(path, aside);
  }
}

double percent_of(int64_t bytes, const MemoryStats& memory) {
  return memory.capacity_bytes > 0 ? 100.0 * static_cast<double>(bytes) / static_cast<double>(memory.capacity_bytes)
                                   : 0;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

MetricsLogger::MetricsLogger(const config::Metrics& config, MetricsLoggerOptions options)
    : config_(config),
      options_(std::move(options)),
      color_(!config.disable_color_printing && logging::on_terminal()),
      last_log_(Clock::now()) {
  TORCH_INTERNAL_ASSERT(config_.log_freq > 0 && options_.non_data_parallel_size > 0 && options_.memory);

  // 1. The device.
  logging::info("{} capacity: {} with {:.2f}GiB memory", upper(options_.device_type), options_.device_name,
                to_gib(options_.memory().capacity_bytes));
  peak_flops_ = peak_flops(options_.device_name);
  logging::info("Peak FLOPS used for computing MFU: {:.3e}", peak_flops_);

  // 2. Where this rank saves, if it does. Done now, so that a folder that cannot be written stops the run early.
  if (!config_.save_for_all_ranks && options_.rank != options_.metrics_rank) return;
  std::filesystem::path jsonl_folder = options_.dump_folder / "metrics";
  std::filesystem::path tensorboard_folder = options_.dump_folder / config_.save_tb_folder / folder_of_now();
  if (config_.save_for_all_ranks) {
    const std::string rank_folder = fmt::format("rank_{}", options_.rank);
    jsonl_folder /= rank_folder;
    tensorboard_folder /= rank_folder;
  }
  std::error_code error;
  std::filesystem::create_directories(jsonl_folder, error);
  TORCH_CHECK(!error, "job.dump_folder: cannot create ", jsonl_folder.string(), ": ", error.message());
  TORCH_CHECK(access(jsonl_folder.c_str(), W_OK) == 0, "job.dump_folder: cannot write into ", jsonl_folder.string(),
              ": ", std::strerror(errno));
  jsonl_path_ = jsonl_folder / "metrics.jsonl";
  if (config_.enable_tensorboard) {
    tensorboard_ = std::make_unique<TensorBoardWriter>(tensorboard_folder);
    logging::info("TensorBoard logging enabled. Logs will be saved at {}", tensorboard_folder.string());
  }
}

void MetricsLogger::start(int64_t num_steps_done) {
  num_tokens_since_last_log_ = 0;
  data_loading_seconds_ = 0;
  num_data_loadings_ = 0;
  last_logged_step_ = num_steps_done;
  if (options_.reset_peak_memory) options_.reset_peak_memory();
  last_log_ = Clock::now();
}

bool MetricsLogger::should_log(int64_t step) const { return step == 1 || step % config_.log_freq == 0; }

void MetricsLogger::add_data_loading(std::chrono::duration<double> wait) {
  data_loading_seconds_ += wait.count();
  ++num_data_loadings_;
}

double MetricsLogger::seconds_since_last_log() const {
  return std::chrono::duration<double>(Clock::now() - last_log_).count();
}

double MetricsLogger::tokens_per_second(double seconds) const {
  const double device_seconds = seconds * static_cast<double>(options_.non_data_parallel_size);
  return device_seconds > 0 ? static_cast<double>(num_tokens_since_last_log_) / device_seconds : 0;
}

StepMetrics MetricsLogger::log(const StepResult& result) {
  const double seconds = seconds_since_last_log();
  const auto num_steps = static_cast<double>(std::max<int64_t>(1, result.step - last_logged_step_));
  const MemoryStats memory = options_.memory();

  StepMetrics m;
  m.step = result.step;
  m.loss = result.loss;
  m.max_loss = result.max_loss;
  m.grad_norm = result.grad_norm;
  m.lr = result.lr;
  m.num_tokens_seen = result.num_tokens_seen;
  m.memory_gib = to_gib(memory.peak_reserved_bytes);
  m.memory_percent = percent_of(memory.peak_reserved_bytes, memory);
  m.tps = tokens_per_second(seconds);
  m.tflops = options_.flops_per_token * m.tps / 1e12;
  m.mfu_percent = 100 * options_.flops_per_token * m.tps / peak_flops_;  // PaLM, arXiv 2204.02311, appendix B
  m.end_to_end_seconds = seconds / num_steps;
  m.data_loading_seconds = num_data_loadings_ > 0 ? data_loading_seconds_ / static_cast<double>(num_data_loadings_) : 0;
  m.data_loading_percent = seconds > 0 ? 100 * data_loading_seconds_ / seconds : 0;

  if (memory.num_alloc_retries > 0) logging::warning("{} memory allocation retries.", memory.num_alloc_retries);
  if (memory.num_ooms > 0) logging::warning("{} OOM errors thrown.", memory.num_ooms);
  save(m.step, {{"loss_metrics/global_avg_loss", m.loss},
                {"loss_metrics/global_max_loss", m.max_loss},
                {"grad_norm", m.grad_norm},
                {"throughput(tps)", m.tps},
                {"tflops", m.tflops},
                {"mfu(%)", m.mfu_percent},
                {"time_metrics/end_to_end(s)", m.end_to_end_seconds},
                {"time_metrics/data_loading(s)", m.data_loading_seconds},
                {"time_metrics/data_loading(%)", m.data_loading_percent},
                {"memory/max_active(GiB)", to_gib(memory.peak_active_bytes)},
                {"memory/max_active(%)", percent_of(memory.peak_active_bytes, memory)},
                {"memory/max_reserved(GiB)", m.memory_gib},
                {"memory/max_reserved(%)", m.memory_percent},
                {"memory/num_alloc_retries", static_cast<double>(memory.num_alloc_retries)},
                {"memory/num_ooms", static_cast<double>(memory.num_ooms)},
                {"n_tokens_seen", static_cast<double>(m.num_tokens_seen)},
                {"lr", m.lr}});
  logging::info("{}", format_step(m, color_));
  start(m.step);
  return m;
}

ValidationMetrics MetricsLogger::log_validation(int64_t step, double loss) {
  const MemoryStats memory = options_.memory();
  ValidationMetrics m;
  m.step = step;
  m.loss = loss;
  m.tps = tokens_per_second(seconds_since_last_log());
  m.memory_gib = to_gib(memory.peak_reserved_bytes);
  m.memory_percent = percent_of(memory.peak_reserved_bytes, memory);
  save(step, {{"validation_metrics/loss", m.loss},
              {"validation_metrics/throughput(tps)", m.tps},
              {"validation_metrics/memory/max_active(GiB)", to_gib(memory.peak_active_bytes)},
              {"validation_metrics/memory/max_active(%)", percent_of(memory.peak_active_bytes, memory)},
              {"validation_metrics/memory/max_reserved(GiB)", m.memory_gib},
              {"validation_metrics/memory/max_reserved(%)", m.memory_percent}});
  logging::info("{}", format_validation(m, color_));
  start(step);
  return m;
}

void MetricsLogger::save(int64_t step, const Scalars& scalars) {
  if (jsonl_path_.empty()) return;
  if (!jsonl_) {
    if (step == 1) move_aside(jsonl_path_);
    jsonl_ = std::make_unique<JsonlWriter>(jsonl_path_);
  }
  jsonl_->write(step, scalars);
  if (!tensorboard_) return;
  for (const auto& [tag, value] : scalars) tensorboard_->add_scalar(tag, value, step);
  tensorboard_->flush();
}

}  // namespace titan::metrics
