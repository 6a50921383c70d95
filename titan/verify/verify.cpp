#include "titan/verify/verify.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "titan/launch/launch.h"
#include "titan/verify/record.h"
#include "titan/verify/report.h"

namespace titan::verify {
namespace {

bool is_bf16(const VerifyOptions& options, const Layout& layout) {
  return layout.dtype.has_value() ? *layout.dtype == "bf16" : options.config_is_bf16;
}

// Starts `num_ranks` workers and waits for them. `results` empty: the reference run.
void run(const VerifyOptions& options, const std::string& name, int64_t num_ranks,
         const std::vector<std::string>& flags, const std::filesystem::path& results) {
  launch::LaunchOptions launch;
  launch.command = options.worker_command;
  launch.command.push_back(WorkerFlags::kFolder + options.folder.string());
  launch.command.push_back(WorkerFlags::kResults + results.string());
  launch.command.push_back(WorkerFlags::kSteps + std::to_string(options.num_steps));
  launch.command.insert(launch.command.end(), flags.begin(), flags.end());
  launch.nproc_per_node = num_ranks;
  launch.shown_local_ranks = std::vector<int64_t>{};  // the report says what there is to say
  if (!results.empty()) std::filesystem::create_directories(results);
  const int exit_code = launch::launch_ranks(launch);
  TORCH_CHECK(exit_code == 0, name, ": the run failed (exit code ", exit_code, "); what its ranks said is above");
}

std::vector<Comparison> read_ranks(const std::filesystem::path& results, int64_t num_ranks) {
  std::vector<Comparison> ranks;
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    ranks.push_back(read_comparison(results / fmt::format("rank{}.json", rank)));
  }
  return ranks;
}

void print(const std::string& line) {
  std::fprintf(stdout, "%s\n", line.c_str());
  std::fflush(stdout);
}

class Folder {
 public:
  explicit Folder(const std::filesystem::path& path) : path_(path) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

 private:
  std::filesystem::path path_;
};

}  // namespace

std::vector<std::string> flags_for(const VerifyOptions& options, const Layout* layout, config::Problems& problems) {
  const Layout one_device{.text = "one device", .dtype = "fp32"};
  std::vector<std::string> flags = options.train_flags;
  const auto of_layout = flags_of(layout == nullptr ? one_device : *layout, options.global_batch_size, problems);
  flags.insert(flags.end(), of_layout.begin(), of_layout.end());
  if (layout == nullptr) flags.push_back("--training.dtype=float32");
  // Nothing is saved, nor validated: only steps count.
  flags.insert(flags.end(), {"--job.dump_folder=" + (options.folder / "outputs").string(), "--checkpoint.load_only",
                             "--validation.no-enable", "--metrics.no-enable_tensorboard", "--job.no-print_config"});
  return flags;
}

bool verify(const VerifyOptions& options) {
  const Folder folder(options.folder);
  config::Problems none;  // the verb has checked all flags
  print(
      fmt::format("reference: one device, fp32, {} steps of {} samples", options.num_steps, options.global_batch_size));
  run(options, "reference", 1, flags_for(options, nullptr, none), {});
  const Comparison reference = read_comparison(options.folder / "reference.json");
  std::string losses = "  losses";
  for (const double loss : reference.free_losses) losses += fmt::format(" {:.5f}", loss);
  print(losses);

  std::optional<Comparison> bf16_baseline;
  if (std::any_of(options.layouts.begin(), options.layouts.end(),
                  [&](const Layout& layout) { return is_bf16(options, layout); })) {
    const Layout one_device{.text = "one device, bf16", .dtype = "bf16"};
    const std::filesystem::path results = options.folder / "bf16";
    run(options, one_device.text, 1, flags_for(options, &one_device, none), results);
    bf16_baseline = read_ranks(results, 1).front();
  }

  std::vector<std::string> parted;
  for (size_t i = 0; i < options.layouts.size(); ++i) {
    const Layout& layout = options.layouts[i];
    const std::filesystem::path results = options.folder / fmt::format("layout{}", i);
    run(options, layout.text, layout.world_size(), flags_for(options, &layout, none), results);
    const Verdict verdict = judge(layout, read_ranks(results, layout.world_size()), reference,
                                  is_bf16(options, layout) ? &*bf16_baseline : nullptr);
    for (const std::string& line : verdict.lines) print(line);
    if (!verdict.holds) parted.push_back(fmt::format("{} ({})", layout.text, verdict.first_parting));
  }
  if (parted.empty()) {
    print(fmt::format("verdict: all {} layouts hold", options.layouts.size()));
  } else {
    print(fmt::format("verdict: {} of {} layouts part: {}", parted.size(), options.layouts.size(), parted.front()));
  }
  return parted.empty();
}

}  // namespace titan::verify
