// titan verify: runs a job under several layouts and compares each with one device, tensor by tensor.
#include "cli/verify.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <string_view>

#include "cli/job.h"
#include "cli/own_flags.h"
#include "cli/verbs.h"
#include "titan/config/check.h"
#include "titan/config/reader.h"
#include "titan/launch/launch.h"
#include "titan/logging/logger.h"
#include "titan/verify/verify.h"
#include "titan/verify/worker.h"

namespace titan::cli {
namespace {

constexpr const char* kUsage =
    "usage: titan verify --job.config_file FILE [flags of titan train] --layouts LAYOUTS [--steps N]\n\n"
    "Runs the job on one device in fp32, then under each layout on the same global batches, and compares losses,\n"
    "gradients before clipping and updated parameters. Exit code 0 only if all hold.\n\n"
    "  --layouts  layouts split by ';', their items by ',': \"dp_replicate=2; dp_replicate=4, accum=2\"\n"
    "             items: dp_replicate dp_shard tp pp cp accum microbatches schedule ac (a mode, op, N)\n"
    "             dtype (fp32, bf16) sp loss_parallel async_tp (on, off)\n"
    "  --steps    how many steps to compare (default 5)\n";

struct Options {
  std::optional<std::string> layouts;
  int64_t num_steps = 5;
  std::optional<verify::WorkerOptions> worker;
  bool help = false;
  Arguments train_flags;
};

Options read_options(const Arguments& arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const auto value_of = [&](std::string_view name) { return value_of_flag(name, arguments, i); };
    const auto after = [&](std::string_view prefix) { return argument.substr(prefix.size()); };
    using Flags = verify::WorkerFlags;
    if (argument == "--help" || argument == "-h") {
      options.help = true;
    } else if (argument.starts_with(Flags::kFolder)) {
      options.worker.emplace().folder = after(Flags::kFolder);
    } else if (argument.starts_with(Flags::kResults) && options.worker.has_value()) {
      options.worker->results = after(Flags::kResults);
    } else if (argument.starts_with(Flags::kSteps) && options.worker.has_value()) {
      options.worker->num_steps = read_count(Flags::kSteps, after(Flags::kSteps));
    } else if (const auto layouts = value_of("--layouts")) {
      options.layouts = *layouts;
    } else if (const auto steps = value_of("--steps")) {
      options.num_steps = read_count("--steps", *steps);
    } else {
      options.train_flags.push_back(argument);
    }
  }
  return options;
}

int run_worker(const Options& options, const PlantedFaults& faults) {
  config::Problems problems;
  Arguments flags = options.train_flags;
  const bool is_reference = options.worker->results.empty();
  if (!is_reference) flags.insert(flags.end(), faults.flags.begin(), faults.flags.end());
  config::Reading reading = config::read(flags, problems);
  const distributed::RankInfo ranks = distributed::rank_info_from_environment();
  logging::set_rank(ranks.rank);
  const models::ModelSpec& spec = check_job(reading, ranks.world_size, problems);
  const device::ComputeDevice device = device::open_compute_device(ranks.local_rank, ranks.local_world_size);
  const auto world = make_world(reading.config, ranks, device, {.make_backend = faults.make_backend});
  if (is_reference) {
    verify::record_reference(reading.config, spec, world, device, *options.worker);
  } else {
    verify::compare_with_reference(reading.config, spec, world, device, *options.worker, faults.observer);
  }
  return 0;
}

// Judges the job under `layout` (null: the reference) as its ranks will.
void check_layout(const verify::VerifyOptions& options, const verify::Layout* layout, config::Problems& problems) {
  config::Problems found;
  config::Reading reading = config::read(flags_for(options, layout, found), found);
  try {
    check_job(reading, layout == nullptr ? 1 : layout->world_size(), found);
  } catch (const c10::ValueError&) {
    for (const std::string& line : found.lines()) {
      problems.add(layout == nullptr ? line : fmt::format("--layouts: {}: {}", layout->text, line));
    }
  }
}

}  // namespace

int run_verify_with(const Arguments& arguments, const PlantedFaults& faults) {
  const Options given = read_options(arguments);
  if (given.help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (given.worker.has_value()) return run_worker(given, faults);

  config::Problems problems;
  const config::JobConfig job = config::read(given.train_flags, problems).config;
  verify::VerifyOptions options{
      .worker_command = {launch::own_program(), "verify"},
      .train_flags = given.train_flags,
      .layouts = verify::parse_layouts(given.layouts.value_or(""), problems),
      .num_steps = given.num_steps,
      .global_batch_size = config::global_batch_size(job, /*world_size=*/1),
      .config_is_bf16 = job.training.mixed_precision_param == "bfloat16" || job.training.dtype == "bfloat16",
      .folder = std::filesystem::absolute(job.job.dump_folder) / "verify"};
  problems.throw_if_any();
  check_layout(options, nullptr, problems);
  problems.throw_if_any();
  for (const verify::Layout& layout : options.layouts) check_layout(options, &layout, problems);
  problems.throw_if_any();
  return verify::verify(options) ? 0 : 1;
}

int run_verify(const Arguments& arguments) { return run_verify_with(arguments, {}); }

}  // namespace titan::cli
