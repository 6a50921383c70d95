#include "titan/activation_checkpoint/apply.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "titan/activation_checkpoint/checkpoint.h"
#include "titan/activation_checkpoint/device_memory.h"
#include "titan/activation_checkpoint/kept_results.h"
#include "titan/activation_checkpoint/offload.h"
#include "titan/activation_checkpoint/pareto_chart.h"
#include "titan/activation_checkpoint/selective_operators.h"
#include "titan/logging/logger.h"

namespace titan::activation_checkpoint {
namespace {

constexpr double kMiB = 1 << 20;
// Of the memory that is left, `auto` leaves this share to what it has not seen: fragments, other sizes of a batch.
constexpr double kSpare = 0.1;

CheckpointOptions options_from(const config::ActivationCheckpoint& config) {
  return {.preserve_rng_state = config.preserve_rng_state,
          .early_stop = config.early_stop,
          .check_determinism = config.determinism_check != "none",
          .debug = config.debug};
}

void write_chart(const std::string& folder, const std::string& chart) {
  std::filesystem::create_directories(folder);
  const std::filesystem::path path = std::filesystem::path(folder) / "block.svg";
  std::ofstream file(path);
  file << chart;
  file.close();
  TORCH_CHECK(file.good(), "cannot write ", path.string());
  logging::info("Wrote {}: time against memory of one block", path.string());
}

void log_choice(const BlockProfile& profile, const KeepChoice& choice) {
  double seconds = 0;
  for (const Candidate& candidate : profile.candidates) seconds += candidate.seconds;
  logging::info(
      "Activation checkpointing keeps results of {} of {} operators a block, {:.2f} MiB of {:.2f} MiB; {:.0f}% of its "
      "forward is computed again",
      std::count(choice.keeps.begin(), choice.keeps.end(), true), profile.candidates.size(),
      static_cast<double>(choice.bytes) / kMiB, static_cast<double>(profile.plain_bytes) / kMiB,
      seconds == 0 ? 0.0 : 100 * choice.seconds / seconds);
}

// What mode memory_budget and mode auto let each block keep.
MemoryBudget::Bound bound_from(const config::ActivationCheckpoint& config, const Surroundings& surroundings,
                               int64_t num_blocks) {
  if (config.mode == "memory_budget") {
    return [budget = config.memory_budget](const BlockProfile& profile) {
      return static_cast<int64_t>(budget * static_cast<double>(profile.plain_bytes));
    };
  }
  return [surroundings, num_blocks](const BlockProfile&) {
    const int64_t left = bytes_beyond_peak(surroundings.device, surroundings.ranks_on_host);
    return static_cast<int64_t>((1 - kSpare) * static_cast<double>(left)) /
           (num_blocks * surroundings.forwards_in_flight);
  };
}

Applied apply_budget(const std::vector<nn::Module*>& blocks, const config::ActivationCheckpoint& config,
                     const Surroundings& surroundings) {
  const double budget = config.mode == "memory_budget" ? config.memory_budget : -1;
  const std::string folder = config.visualize_memory_budget_pareto ? surroundings.chart_folder : "";
  const auto on_choice = [folder, budget](const BlockProfile& profile, const KeepChoice& choice) {
    log_choice(profile, choice);
    if (!folder.empty()) write_chart(folder, pareto_chart(profile, budget));
  };
  auto chooser = std::make_shared<MemoryBudget>(bound_from(config, surroundings, static_cast<int64_t>(blocks.size())),
                                                surroundings.agree, on_choice);
  CheckpointOptions options = options_from(config);
  options.make_policy = [chooser] { return chooser->make_policy(); };
  options.applies = [chooser] { return chooser->applies(); };
  for (nn::Module* block : blocks) checkpoint(*block, options);
  return {.before_microbatch = [chooser](bool last) { chooser->before_microbatch(last); },
          .description = config.mode == "auto" ? "what memory has room for stays, chosen after the first step"
                                               : fmt::format("budget {}, chosen after the first step", budget)};
}

}  // namespace

Applied apply_activation_checkpoint(const std::vector<nn::Module*>& blocks, const config::ActivationCheckpoint& config,
                                    const Surroundings& surroundings) {
  if (blocks.empty() || config.mode == "none") return {};
  if (config.mode == "memory_budget" || config.mode == "auto") return apply_budget(blocks, config, surroundings);
  if (config.mode == "offload") {
    offload_activations(blocks);
    if (surroundings.device.is_cpu()) logging::warning("activation_checkpoint.mode = offload: has no effect on a CPU");
    return {.description = "activations wait in host memory"};
  }
  if (config.mode == "full") {
    for (nn::Module* block : blocks) checkpoint(*block, options_from(config));
    return {.description = "every block is computed again"};
  }
  TORCH_INTERNAL_ASSERT(config.mode == "selective", "unchecked activation_checkpoint.mode ", config.mode);
  if (config.selective_ac_option == "op") {
    for (nn::Module* block : blocks) {
      CheckpointOptions options = options_from(config);
      options.make_policy =
          keep_dear_operators(shapes_of_linears(*block, config.per_op_sac_force_recompute_mm_shapes_by_fqns));
      checkpoint(*block, std::move(options));
    }
    return {.description = "operators that are cheap for their results' size are computed again"};
  }
  const auto every = static_cast<size_t>(std::stoll(config.selective_ac_option));
  for (size_t i = every - 1; i < blocks.size(); i += every) checkpoint(*blocks[i], options_from(config));
  return {.description =
              every == 1 ? "every block is computed again" : fmt::format("one block in {} is computed again", every)};
}

}  // namespace titan::activation_checkpoint
