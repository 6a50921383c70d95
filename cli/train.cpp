// titan train: trains a model on this rank. Everything a user can have got wrong is found, all at once, before
// anything starts.
#include "cli/train.h"

#include <cstdio>

#include "cli/verbs.h"
#include "titan/config/reader.h"
#include "titan/config/writer.h"
#include "titan/logging/logger.h"
#include "titan/train/trainer.h"

namespace titan::cli {

int run_train_with(const Arguments& arguments, PlantedInWorld planted) {
  config::Problems problems;
  config::Reading reading = config::read(arguments, problems);
  if (reading.help) {
    std::fputs(config::help().c_str(), stdout);
    return 0;
  }
  config::JobConfig& job = reading.config;
  const distributed::RankInfo ranks = distributed::rank_info_from_environment();
  logging::set_rank(ranks.rank);
  const models::ModelSpec& spec = check_job(reading, ranks.world_size, problems);

  // One rank speaks for all where all have the same to say.
  if (ranks.rank == 0) {
    for (const std::string& note : reading.notes) logging::warning("{}", note);
    if (job.job.print_config) logging::info("Running with configuration:\n{}", config::to_toml(job));
    config::save_if_asked(job);
  }
  const device::ComputeDevice device = device::open_compute_device(ranks.local_rank, ranks.local_world_size);
  train::Trainer trainer(job, spec, make_world(job, ranks, device, std::move(planted)), device);
  if (job.checkpoint.create_seed_checkpoint) {
    trainer.save_seed_checkpoint();
  } else {
    trainer.train();
  }
  return 0;
}

int run_train(const Arguments& arguments) { return run_train_with(arguments, {}); }

}  // namespace titan::cli
