#include "titan/bench/report.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "titan/config/check.h"
#include "titan/config/job_config.h"
#include "titan/launch/cores.h"
#include "titan/metrics/memory.h"
#include "titan/metrics/peak_flops.h"
#include "titan/metrics/step_line.h"
#include "titan/models/model_spec.h"

namespace titan::bench {
namespace {

// "Intel(R) Xeon(R) Processor" of /proc/cpuinfo; "cpu" where that does not say.
std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "cpu";
}

// What both forms of the report derive from the measures.
struct Figures {
  double tokens_per_second, best_tokens_per_second;
  double model_flops_per_second, hardware_flops_per_second;
  double mfu, hfu;  // shares of the peak

  Figures(const Setting& setting, const Measurement& m)
      : tokens_per_second(static_cast<double>(m.tokens_per_step) / m.seconds_per_step()),
        best_tokens_per_second(static_cast<double>(m.tokens_per_step) / m.best_seconds_per_step()),
        model_flops_per_second(m.flops_per_token * tokens_per_second),
        hardware_flops_per_second(m.flops_per_step.total() / m.seconds_per_step()),
        mfu(model_flops_per_second / setting.peak_flops),
        hfu(hardware_flops_per_second / setting.peak_flops) {}
};

std::string thousands(double value) { return metrics::group_thousands(value, 0); }

std::string milliseconds(double seconds) { return fmt::format("{:.1f} ms", 1e3 * seconds); }

// 3.25e9 as "3.25 G".
std::string with_unit(double value) {
  for (const auto& [factor, unit] : {std::pair{1e12, "T"}, {1e9, "G"}, {1e6, "M"}}) {
    if (value >= factor) return fmt::format("{:.2f} {}", value / factor, unit);
  }
  return fmt::format("{:.0f} ", value);
}

std::string row(std::string_view name, const std::string& value) { return fmt::format("  {:<16}{}\n", name, value); }

std::string time_row(std::string_view name, double seconds, double total) {
  return fmt::format("    {:<16}{:>11}{:>7.1f}%\n", name, milliseconds(seconds), 100 * seconds / total);
}

}  // namespace

Setting describe_setting(const config::JobConfig& job, const models::ModelSpec& spec, int64_t world_size,
                         const device::ComputeDevice& device, std::vector<std::string> flags) {
  const auto peak = metrics::known_peak_flops(device.name);
  return {.config_file = job.job.config_file.value_or(""),
          .flags = std::move(flags),
          .model = fmt::format("{} {}: {}", job.model.name, job.model.flavor, spec.describe(job)),
          .seq_len = job.training.seq_len,
          .local_batch_size = job.training.local_batch_size,
          .global_batch_size = config::global_batch_size(job, world_size),
          .dtypes = fmt::format("parameters {}, compute {}", job.training.dtype, job.training.mixed_precision_param),
          .world_size = world_size,
          .device_name = device.device.is_cpu() ? cpu_model() : device.name,
          .peak_flops = peak.value_or(metrics::kFallbackPeakFlops),
          .peak_is_known = peak.has_value(),
          .num_cores = launch::num_usable_cores(),
          .num_threads = at::get_num_threads(),
          .torch_version = TORCH_VERSION};
}

std::string to_table(const Setting& setting, const BenchOptions& options, const Measurement& m) {
  const Figures figures(setting, m);
  const std::string how =
      m.on_gpu ? fmt::format("over {} steps", options.num_steps) : fmt::format("median of {} steps", options.num_steps);
  const auto utilisation = [&](double flops_per_second, double share) {
    return fmt::format("{:.2f}% ({}FLOP/s of {}FLOP/s{})", 100 * share, with_unit(flops_per_second),
                       with_unit(setting.peak_flops), setting.peak_is_known ? "" : ", an A100's");
  };

  std::string table = fmt::format("titan bench {}\n", fmt::join(setting.flags, " "));
  table += row("model", setting.model);
  table += row("batch", fmt::format("seq {}, local batch {}, global batch {}, {}", setting.seq_len,
                                    setting.local_batch_size, setting.global_batch_size, setting.dtypes));
  table +=
      row("device", fmt::format("{} x {}, {} threads on {} cores, torch {}", setting.world_size, setting.device_name,
                                setting.num_threads, setting.num_cores, setting.torch_version));
  table += row("tokens/s", fmt::format("{} per device ({}; best {})", thousands(figures.tokens_per_second), how,
                                       thousands(figures.best_tokens_per_second)));
  table += row("step", fmt::format("{} ({}; best {})", milliseconds(m.seconds_per_step()), how,
                                   milliseconds(m.best_seconds_per_step())));
  table += row("model FLOPs", utilisation(figures.model_flops_per_second, figures.mfu));
  table += row("hardware FLOPs", utilisation(figures.hardware_flops_per_second, figures.hfu));
  table += row("peak memory", fmt::format("{:.2f} GiB of {:.2f} GiB", metrics::to_gib(m.peak_reserved_bytes),
                                          metrics::to_gib(m.capacity_bytes)));
  table +=
      row("first step", fmt::format("done {:.2f} s after the start: set-up {:.2f} s, step 1 {:.2f} s",
                                    m.setup_seconds + m.first_step_seconds, m.setup_seconds, m.first_step_seconds));
  table += row("loss", fmt::format("{:.5f} in the last timed step", m.final_loss));
  table += row("time of a step", "profiled apart");
  for (const profiling::Category category : profiling::kCategories) {
    table += time_row(profiling::name_of(category), m.time[category], m.time.total());
  }
  return table + time_row(m.on_gpu ? "idle" : "idle, host", m.time.idle_seconds, m.time.total());
}

std::string to_json(const Setting& setting, const BenchOptions& options, const Measurement& m) {
  const Figures figures(setting, m);
  nlohmann::ordered_json json;
  json["setting"] = {{"config_file", setting.config_file},
                     {"flags", setting.flags},
                     {"model", setting.model},
                     {"seq_len", setting.seq_len},
                     {"local_batch_size", setting.local_batch_size},
                     {"global_batch_size", setting.global_batch_size},
                     {"dtypes", setting.dtypes},
                     {"world_size", setting.world_size},
                     {"device_name", setting.device_name},
                     {"peak_flops_per_second", setting.peak_flops},
                     {"peak_is_known", setting.peak_is_known},
                     {"num_cores", setting.num_cores},
                     {"num_threads", setting.num_threads},
                     {"torch_version", setting.torch_version},
                     {"num_steps", options.num_steps},
                     {"num_warmup_steps", options.num_warmup_steps}};
  json["tokens_per_second_per_device"] = figures.tokens_per_second;
  json["best_tokens_per_second_per_device"] = figures.best_tokens_per_second;
  json["measured_by"] = m.on_gpu ? "whole_interval" : "median_step";
  json["seconds_per_step"] = m.seconds_per_step();
  json["step_seconds"] = m.step_seconds;
  json["interval_seconds"] = m.interval_seconds;
  json["tokens_per_step_per_device"] = m.tokens_per_step;
  json["model_flops_per_token"] = m.flops_per_token;
  json["model_flops_utilisation"] = figures.mfu;
  json["matmul_flops_per_step"] = m.flops_per_step.matmul;
  json["attention_flops_per_step"] = m.flops_per_step.attention;
  json["hardware_flops_utilisation"] = figures.hfu;
  json["peak_reserved_bytes"] = m.peak_reserved_bytes;
  json["capacity_bytes"] = m.capacity_bytes;
  json["setup_seconds"] = m.setup_seconds;
  json["first_step_seconds"] = m.first_step_seconds;
  json["final_loss"] = m.final_loss;
  nlohmann::ordered_json& time = json["profiled_step_seconds"];
  for (const profiling::Category category : profiling::kCategories) {
    time[std::string(profiling::name_of(category))] = m.time[category];
  }
  time["idle"] = m.time.idle_seconds;
  return json.dump(2) + "\n";
}

}  // namespace titan::bench
