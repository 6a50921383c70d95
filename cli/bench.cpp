// titan bench: measures a job's steps on this machine. Rank 0 reports.
#include "cli/bench.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "cli/job.h"
#include "cli/own_flags.h"
#include "titan/bench/report.h"
#include "titan/logging/logger.h"

namespace titan::cli {
namespace {

constexpr const char* kUsage =
    "usage: titan bench --job.config_file FILE [flags of titan train] [--steps N] [--warmup N] [--json FILE]\n\n"
    "Trains as `titan train` would and measures it: tokens/s, utilisation by the FLOPs that the model needs and by\n"
    "those that were executed, peak memory, time to the first step, and where the time of a step goes. configs/bench/\n"
    "has the cases that are compared with TorchTitan. Several ranks: titan launch --nproc-per-node N -- bench ...\n\n"
    "  --steps   how many steps to time (default 10)\n"
    "  --warmup  how many steps to run before them, at least step 1 (default 3)\n"
    "  --json    also write the measures to this file\n\n"
    "The job's own keys hold, but for these: it starts from random weights and saves none ([checkpoint]), does not\n"
    "validate ([validation]), writes no TensorBoard events, traces or configuration, and leaves job.dump_folder "
    "alone.\n"
    "training.steps and training.max_seconds do not end it. After the timed steps it runs four more, one to count\n"
    "FLOPs and three to profile.\n\n"
    "tokens/s are per device: on a CPU of the median step, on a GPU over all timed steps, since there the host runs\n"
    "ahead. Hardware FLOPs are those of matrix products and attention as they ran, so recomputation counts and causal\n"
    "attention counts the half that is computed. Time by category is rank 0's; communication is what was waited for.\n";

// Where what must be written goes; removed at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "titan_bench_XXXXXX").string();
    TORCH_CHECK(mkdtemp(name.data()) != nullptr, name, ": cannot make a folder: ", std::strerror(errno));
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Found now, not after the steps have run.
void check_json_file(const std::string& file) {
  const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
  TORCH_CHECK_VALUE(!std::filesystem::is_directory(file), "--json: expected a file, got the folder '", file, "'");
  TORCH_CHECK_VALUE(std::filesystem::is_directory(folder) && access(folder.c_str(), W_OK) == 0,
                    "--json: cannot write into '", folder.string(), "'; make that folder, or name a file elsewhere");
}

void write_json(const std::string& file, const std::string& json) {
  std::ofstream stream(file);
  stream << json;
  stream.close();
  TORCH_CHECK(stream.good(), "--json: cannot write '", file, "': ", std::strerror(errno));
}

}  // namespace

Bench read_bench(const Arguments& arguments, config::Problems& problems) {
  Bench bench;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (const auto steps = value_of_flag("--steps", arguments, i)) {
      bench.options.num_steps = read_count("--steps", *steps);
    } else if (const auto warmup = value_of_flag("--warmup", arguments, i)) {
      bench.options.num_warmup_steps = read_count("--warmup", *warmup);
    } else if (const auto json = value_of_flag("--json", arguments, i)) {
      bench.json_file = *json;
    } else {
      bench.train_flags.push_back(arguments[i]);
    }
  }
  if (bench.json_file.has_value()) check_json_file(*bench.json_file);
  bench.job = config::read(bench.train_flags, problems);
  bench::only_train(bench.job.config);
  return bench;
}

int run_bench(const Arguments& arguments) {
  config::Problems problems;
  Bench bench = read_bench(arguments, problems);
  if (bench.job.help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  config::JobConfig& job = bench.job.config;
  const distributed::RankInfo ranks = distributed::rank_info_from_environment();
  logging::set_rank(ranks.rank);
  const models::ModelSpec& spec = check_job(bench.job, ranks.world_size, problems);
  if (ranks.rank == 0) {
    for (const std::string& note : bench.job.notes) logging::warning("{}", note);
  }

  const device::ComputeDevice device = device::open_compute_device(ranks.local_rank, ranks.local_world_size);
  const ScratchFolder scratch;
  job.job.dump_folder = scratch.path();
  const bench::Measurement measurement =
      bench::measure(job, spec, make_world(job, ranks, device), device, bench.options);
  if (ranks.rank != 0) return 0;
  const bench::Setting setting =
      bench::describe_setting(job, spec, ranks.world_size, device, std::move(bench.train_flags));
  std::fputs(bench::to_table(setting, bench.options, measurement).c_str(), stdout);
  std::fflush(stdout);
  if (bench.json_file.has_value()) write_json(*bench.json_file, bench::to_json(setting, bench.options, measurement));
  return 0;
}

}  // namespace titan::cli
