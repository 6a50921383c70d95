#include "titan/metrics/jsonl.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

namespace titan::metrics {
namespace {

// fmt's shortest text that reads back as the same double.
std::string json_number(double value) {
  if (std::isnan(value)) return "\"NaN\"";
  if (std::isinf(value)) return value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  return fmt::format("{}", value);
}

}  // namespace

JsonlWriter::JsonlWriter(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path(), error);
  TORCH_CHECK(!error, path_.string(), ": cannot create its folder: ", error.message());
  file_ = std::fopen(path_.c_str(), "ab+");
  TORCH_CHECK(file_ != nullptr, path_.string(), ": cannot open for metrics: ", std::strerror(errno));
  // A run that was killed while it wrote leaves a line without its end; what follows must not become part of it.
  if (std::fseek(file_, -1, SEEK_END) == 0 && std::fgetc(file_) != '\n') std::fputc('\n', file_);
}

JsonlWriter::~JsonlWriter() {
  if (file_ != nullptr) std::fclose(file_);
}

void JsonlWriter::write(int64_t step, const Scalars& scalars) {
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::string line = fmt::format("{{\"step\": {}, \"time\": {:.3f}", step, now);
  for (const auto& [name, value] : scalars) {
    line += fmt::format(", {}: {}", nlohmann::json(name).dump(), json_number(value));
  }
  line += "}\n";
  const bool written = std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
  TORCH_CHECK(written, path_.string(), ": cannot write metrics: ", std::strerror(errno));
}

}  // namespace titan::metrics
