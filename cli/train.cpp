// titan train: trains a model on this rank. Everything a user can have got wrong is found, all at once, before
// anything starts.
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cli/verbs.h"
#include "titan/config/availability.h"
#include "titan/config/check.h"
#include "titan/config/reader.h"
#include "titan/config/writer.h"
#include "titan/logging/logger.h"
#include "titan/models/registry.h"
#include "titan/train/trainer.h"

namespace titan::cli {
namespace {

// RANK and WORLD_SIZE as torchrun, `titan launch` and Slurm scripts set them.
int64_t from_environment(const char* name, int64_t otherwise, config::Problems& problems) {
  const char* const text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  int64_t value = 0;
  const char* const end = text + std::strlen(text);
  const auto result = std::from_chars(text, end, value);
  if (result.ec != std::errc() || result.ptr != end || value < 0) {
    problems.add(fmt::format("{} (environment): expected a number from 0 on, got '{}'", name, text));
    return otherwise;
  }
  return value;
}

}  // namespace

int run_train(const Arguments& arguments) {
  config::Problems problems;
  config::Reading reading = config::read(arguments, problems);
  if (reading.help) {
    std::fputs(config::help().c_str(), stdout);
    return 0;
  }
  config::JobConfig& job = reading.config;
  const int64_t world_size = from_environment("WORLD_SIZE", 1, problems);
  logging::set_rank(from_environment("RANK", 0, problems));

  config::check(job, world_size, problems, reading.notes);
  config::settle_on_available(job, world_size, problems, reading.notes);
  config::check_files(job, problems);
  const models::ModelSpec* const spec = models::find_model(job.model.name);
  if (spec != nullptr) spec->check(job, problems);
  problems.throw_if_any();
  TORCH_INTERNAL_ASSERT(spec != nullptr, "model.name '", job.model.name, "' passed the checks, but is not registered");

  for (const std::string& note : reading.notes) logging::warning("{}", note);
  if (job.job.print_config) logging::info("Running with configuration:\n{}", config::to_toml(job));
  config::save_if_asked(job);

  train::Trainer trainer(job, *spec);
  if (job.checkpoint.create_seed_checkpoint) {
    trainer.save_seed_checkpoint();
  } else {
    trainer.train();
  }
  return 0;
}

}  // namespace titan::cli
