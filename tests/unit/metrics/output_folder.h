// Where a test's output goes, read back and taken away.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace titan::metrics {

class OutputFolder {
 public:
  OutputFolder() {
    std::string name = testing::TempDir() + "titan-metrics-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~OutputFolder() { std::filesystem::remove_all(path_); }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

// Each line of a file, parsed strictly.
inline std::vector<nlohmann::json> json_lines_of(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream content(content_of(path));
  for (std::string line; std::getline(content, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

struct Scalar {
  std::string tag;
  float value = 0;
  int64_t step = 0;
  double wall_time = 0;
};

// Reads an event file without the code that wrote it: the wire format of protobuf by hand, checksums included.
// `version` gets the first record's.
std::vector<Scalar> scalars_of(const std::filesystem::path& path, std::string* version = nullptr);

}  // namespace titan::metrics
