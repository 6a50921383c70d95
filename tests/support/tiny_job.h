// Jobs that train in a fraction of a second, on the data and with the tokenizer of tests/golden/llama3_tiny.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace titan::test {

// Where the goldens of the tiny Llama 3 and of the tiny Qwen 3 are.
std::filesystem::path tiny_golden();
std::filesystem::path tiny_qwen3_golden();

// A folder for one test's output, empty, removed at the end.
class OutputFolder {
 public:
  OutputFolder();
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// {program, "train", flags...}: 10 steps of 3 samples of 48 tokens in fp32, logging every step; `flags` come last, so
// they win. Starts from random weights. The first is without a model, the others have the goldens' sizes.
std::vector<std::string> tiny_data_job(const std::string& program, const std::filesystem::path& dump_folder,
                                       const std::vector<std::string>& flags = {});
std::vector<std::string> tiny_job(const std::string& program, const std::filesystem::path& dump_folder,
                                  const std::vector<std::string>& flags = {});
std::vector<std::string> tiny_qwen3_job(const std::string& program, const std::filesystem::path& dump_folder,
                                        const std::vector<std::string>& flags = {});

// What <dump_folder>/metrics/metrics.jsonl says of each logged training step, the last word on each.
struct LoggedStep {
  int64_t step;
  double loss, grad_norm;
};
std::vector<LoggedStep> logged_steps(const std::filesystem::path& dump_folder);

}  // namespace titan::test
