#include "cli/job.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "titan/config/availability.h"
#include "titan/config/check.h"
#include "titan/distributed/recorder/dump_signal.h"
#include "titan/distributed/staged_backend.h"
#include "titan/models/load_extension.h"
#include "titan/models/registry.h"

namespace titan::cli {

const models::ModelSpec& check_job(config::Reading& reading, int64_t world_size, config::Problems& problems) {
  config::JobConfig& job = reading.config;
  config::check(job, world_size, problems, reading.notes);
  config::settle_on_available(job, problems, reading.notes);
  config::check_files(job, problems);
  const models::ModelSpec* const spec = find_model(job, problems);
  if (spec != nullptr) spec->check(job, problems);
  problems.throw_if_any();
  TORCH_INTERNAL_ASSERT(spec != nullptr, "model.name '", job.model.name, "' passed the checks, but is not registered");
  return *spec;
}

const models::ModelSpec* find_model(const config::JobConfig& job, config::Problems& problems) {
  const std::string& library = job.experimental.custom_import;
  if (library.empty()) return models::find_model(job.model.name);
  const size_t num_problems = problems.lines().size();
  models::load_extension(library, problems);
  const models::ModelSpec* const spec = models::find_model(job.model.name);
  if (spec == nullptr && problems.lines().size() == num_problems) {
    problems.add(fmt::format("model.name: expected one of {}, got '{}'", fmt::join(models::model_names(), ", "),
                             job.model.name));
  }
  return spec;
}

std::shared_ptr<distributed::World> make_world(const config::JobConfig& job, const distributed::RankInfo& info,
                                               const device::ComputeDevice& device, PlantedInWorld planted) {
  distributed::recorder::catch_dump_signal();  // now, since nobody asks ranks whether they are ready for it
  const bool fake = job.comm.mode == "fake_backend";
  const std::filesystem::path traces = std::filesystem::path(job.job.dump_folder) / job.comm.save_traces_folder;
  const std::string dump_name = job.comm.save_traces_file_prefix + std::to_string(info.rank);
  const std::string name = fake ? "fake" : job.comm.cpu_backend;
  distributed::BackendFactory make_device_backend = fake ? distributed::backend_factory("fake") : device.make_backend;
  if (device.is_shared && !fake) {
    make_device_backend = distributed::staged_over(distributed::backend_factory(name), device.device);
  }
  return std::make_shared<distributed::World>(
      info,
      distributed::WorldOptions{.backend = name,
                                .make_backend = std::move(planted.make_backend),
                                .make_device_backend = std::move(make_device_backend),
                                .make_device_partwise = fake ? nullptr : device.make_partwise,
                                .init_timeout = std::chrono::seconds(job.comm.init_timeout_seconds),
                                .recorder = {.capacity = job.comm.trace_buf_size, .dump_path = traces / dump_name},
                                .before_operation = std::move(planted.before_operation)});
}

}  // namespace titan::cli
