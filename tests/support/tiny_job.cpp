#include "tests/support/tiny_job.h"

#include <unistd.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace titan::test {

namespace {

std::filesystem::path golden(const char* name) {
  // A test program that was taken to another machine (scripts/run_on_gpu) runs in a checkout there.
  const std::filesystem::path below = std::filesystem::path("tests") / "golden" / name;
  if (std::filesystem::exists(below)) return std::filesystem::absolute(below);
  return std::filesystem::path(TITAN_SOURCE_DIR) / below;
}

std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace

std::filesystem::path tiny_golden() { return golden("llama3_tiny"); }

std::filesystem::path tiny_qwen3_golden() { return golden("qwen3_tiny"); }

OutputFolder::OutputFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "titan_test_XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed: " + name);
  path_ = name;
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> tiny_data_job(const std::string& program, const std::filesystem::path& dump_folder,
                                       const std::vector<std::string>& flags) {
  std::vector<std::string> argv{program,
                                "train",
                                "--job.dump_folder=" + dump_folder.string(),
                                "--model.hf_assets_path=" + (tiny_golden() / "tokenizer").string(),
                                "--training.dataset=c4_test",
                                "--training.dataset_path=" + (tiny_golden() / "corpus").string(),
                                "--training.seq_len=48",
                                "--training.local_batch_size=3",
                                "--training.steps=10",
                                "--training.max_norm=0.3",
                                "--training.mixed_precision_param=float32",
                                "--lr_scheduler.warmup_steps=2",
                                "--lr_scheduler.decay_ratio=0.8",
                                "--activation_checkpoint.mode=none",
                                "--metrics.log_freq=1"};
  return joined(std::move(argv), flags);
}

std::vector<std::string> tiny_job(const std::string& program, const std::filesystem::path& dump_folder,
                                  const std::vector<std::string>& flags) {
  const std::vector<std::string> sizes{
      "--model.flavor=debugmodel", "--model.args.dim=24",         "--model.args.n_layers=2",   "--model.args.n_heads=3",
      "--model.args.n_kv_heads=1", "--model.args.vocab_size=320", "--model.args.multiple_of=8"};
  return tiny_data_job(program, dump_folder, joined(sizes, flags));
}

std::vector<std::string> tiny_qwen3_job(const std::string& program, const std::filesystem::path& dump_folder,
                                        const std::vector<std::string>& flags) {
  const std::vector<std::string> sizes{
      "--model.name=qwen3",      "--model.flavor=debugmodel",  "--model.args.dim=20",
      "--model.args.n_layers=2", "--model.args.n_heads=6",     "--model.args.n_kv_heads=2",
      "--model.args.head_dim=8", "--model.args.hidden_dim=44", "--model.args.vocab_size=320"};
  return tiny_data_job(program, dump_folder, joined(sizes, flags));
}

std::vector<LoggedStep> logged_steps(const std::filesystem::path& dump_folder) {
  std::map<int64_t, LoggedStep> by_step;
  std::ifstream lines(dump_folder / "metrics" / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto metrics = nlohmann::json::parse(line);
    if (!metrics.contains("grad_norm")) continue;
    const int64_t step = metrics.at("step");
    by_step[step] = {step, metrics.at("loss_metrics/global_avg_loss"), metrics.at("grad_norm")};
  }
  std::vector<LoggedStep> steps;
  for (const auto& [step, logged] : by_step) steps.push_back(logged);
  return steps;
}

}  // namespace titan::test
