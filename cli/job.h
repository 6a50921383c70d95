// What every verb that runs a job does first: judge the whole configuration before any rank talks to another, then
// join the ranks.
#pragma once

#include <functional>
#include <memory>

#include "titan/config/reader.h"
#include "titan/device/compute_device.h"
#include "titan/distributed/world.h"
#include "titan/models/model_spec.h"

namespace titan::cli {

// The model that the job names, after loading experimental.custom_import. Null if there is none, or none yet; what is
// wrong with the library, or with the name that it should have brought, is added to `problems`.
const models::ModelSpec* find_model(const config::JobConfig& job, config::Problems& problems);

// Checks validity, availability, files and the model's sizes; settles `reading.config` on what is available and adds
// notes. Throws c10::ValueError with everything that is wrong, those of `problems` first.
const models::ModelSpec& check_job(config::Reading& reading, int64_t world_size, config::Problems& problems);

// What tests put into a world.
struct PlantedInWorld {
  distributed::BackendFactory make_backend;  // instead of the one that the job asks for
  std::function<bool(const distributed::PlannedOperation&, distributed::ProcessGroup&)> before_operation;
};

// Collective over the ranks of `info`. Tensors on `device` have process groups too.
std::shared_ptr<distributed::World> make_world(const config::JobConfig& job, const distributed::RankInfo& info,
                                               const device::ComputeDevice& device, PlantedInWorld planted = {});

}  // namespace titan::cli
