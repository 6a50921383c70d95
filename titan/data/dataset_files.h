// Which files a dataset path stands for, and what each of them holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace titan::data {

enum class FileFormat {
  kJsonLines,  // one object a line
  kText,       // one document
};

struct DatasetFile {
  std::filesystem::path path;
  FileFormat format = FileFormat::kJsonLines;
  int64_t size = 0;  // bytes on disk
};

// `path` itself, or the *.json and *.jsonl (.gz, .zst) of the folder `path` in byte order of their names; hidden files
// and sub-folders are left out. Throws c10::ValueError that begins with `key` where there is no such path, nothing in
// it to read, or a file whose name does not say what it holds.
std::vector<DatasetFile> list_dataset_files(const std::filesystem::path& path, std::string_view key);

// Throws c10::Error where the file is gone or has not the size it had when it was listed: offsets, token counts and
// with them the order of samples would be others.
void check_unchanged(const DatasetFile& file);

}  // namespace titan::data
