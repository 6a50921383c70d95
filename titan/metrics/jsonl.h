// Metrics as JSON lines: one object a logged step, for scripts that want neither TensorBoard nor regular expressions.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace titan::metrics {

using Scalars = std::vector<std::pair<std::string, double>>;

class JsonlWriter {
 public:
  // Appends to `path`, whose folder is created; a resumed run continues the file. Throws c10::Error where that fails.
  explicit JsonlWriter(std::filesystem::path path);
  ~JsonlWriter();
  JsonlWriter(const JsonlWriter&) = delete;
  JsonlWriter& operator=(const JsonlWriter&) = delete;

  // One line {"step": 10, "time": 1767225600.123, "grad_norm": 1.25, ...}, flushed. Numbers read back bit for bit;
  // JSON has no NaN and infinities, so these become the strings "NaN", "Infinity" and "-Infinity".
  void write(int64_t step, const Scalars& scalars);

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
};

}  // namespace titan::metrics
