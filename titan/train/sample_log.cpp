#include "titan/train/sample_log.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

namespace titan::train {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& dump_folder) { return dump_folder / "samples"; }

// A line that was cut off by the end of a run is behind every step.
bool is_after(int64_t step, const std::string& line) {
  const auto parsed = nlohmann::json::parse(line, /*cb=*/nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded() || parsed.at("step").get<int64_t>() > step;
}

void check_written(const std::ofstream& file, const fs::path& path) {
  TORCH_CHECK(file.good(), "data.log_samples: cannot write ", path.string(), ": ", std::strerror(errno),
              "; set job.dump_folder to a folder that can be written");
}

}  // namespace

void forget_samples_after(int64_t step, const fs::path& dump_folder) {
  if (!fs::is_directory(folder_of(dump_folder))) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(dump_folder))) {
    if (entry.path().extension() != ".jsonl") continue;
    std::ifstream file(entry.path());
    std::string kept;
    for (std::string line; std::getline(file, line);) {
      if (!is_after(step, line)) kept += line + "\n";
    }
    const fs::path rewritten = entry.path().string() + ".new";
    std::ofstream out(rewritten);
    out << kept << std::flush;
    check_written(out, rewritten);
    fs::rename(rewritten, entry.path());
  }
}

SampleLog::SampleLog(const fs::path& dump_folder, int64_t rank)
    : path_(folder_of(dump_folder) / fmt::format("rank_{}.jsonl", rank)) {}

void SampleLog::add(int64_t step, const std::vector<data::Batch>& microbatches) {
  if (!file_.is_open()) {
    std::error_code ignored;  // opening the file tells
    fs::create_directories(path_.parent_path(), ignored);
    file_.open(path_, std::ios::app);
  }
  std::vector<int64_t> samples;
  for (const data::Batch& batch : microbatches) {
    samples.insert(samples.end(), batch.samples.begin(), batch.samples.end());
  }
  file_ << fmt::format("{{\"step\": {}, \"samples\": [{}]}}\n", step, fmt::join(samples, ", ")) << std::flush;
  check_written(file_, path_);
}

}  // namespace titan::train
