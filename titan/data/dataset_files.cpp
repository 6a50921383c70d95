#include "titan/data/dataset_files.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <optional>
#include <string>
#include <system_error>

namespace titan::data {
namespace {

namespace fs = std::filesystem;

std::optional<FileFormat> format_of(const fs::path& path) {
  fs::path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  if (name.extension() == ".json" || name.extension() == ".jsonl") return FileFormat::kJsonLines;
  if (name.extension() == ".txt") return FileFormat::kText;
  return std::nullopt;
}

DatasetFile described(const fs::path& path, FileFormat format, std::string_view key) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  TORCH_CHECK_VALUE(!error, key, ": cannot read ", path.string(), ": ", error.message());
  return {path, format, static_cast<int64_t>(size)};
}

}  // namespace

std::vector<DatasetFile> list_dataset_files(const fs::path& path, std::string_view key) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  TORCH_CHECK_VALUE(fs::exists(status), key, ": no file or folder at ", path.string(),
                    "; expected a .json, .jsonl or .txt file (also .gz, .zst) or a folder of .json and .jsonl files");

  if (!fs::is_directory(status)) {
    TORCH_CHECK_VALUE(fs::is_regular_file(status), key, ": ", path.string(), " is not a regular file");
    const std::optional<FileFormat> format = format_of(path);
    TORCH_CHECK_VALUE(format.has_value(), key,
                      ": expected a name that ends in .json, .jsonl or .txt (then .gz or .zst), got ",
                      path.filename().string(), "; rename the file");
    return {described(path, *format, key)};
  }

  std::vector<DatasetFile> files;
  fs::directory_iterator entries(path, error);
  TORCH_CHECK_VALUE(!error, key, ": cannot read the folder ", path.string(), ": ", error.message());
  for (const fs::directory_entry& entry : entries) {
    if (entry.path().filename().string().starts_with('.') || !entry.is_regular_file(error)) continue;
    if (format_of(entry.path()) == FileFormat::kJsonLines)
      files.push_back(described(entry.path(), FileFormat::kJsonLines, key));
  }
  TORCH_CHECK_VALUE(!files.empty(), key, ": the folder ", path.string(),
                    " has no *.json or *.jsonl files (also .gz, .zst); name a .txt file itself");
  std::sort(files.begin(), files.end(),
            [](const DatasetFile& a, const DatasetFile& b) { return a.path.native() < b.path.native(); });
  return files;
}

void check_unchanged(const DatasetFile& file) {
  std::error_code error;
  const auto size = fs::file_size(file.path, error);
  TORCH_CHECK(!error, file.path.string(), ": cannot read any more: ", error.message());
  TORCH_CHECK(static_cast<int64_t>(size) == file.size, file.path.string(), ": changed while in use (", file.size,
              " bytes at the start, now ", size, "); restore it, or start anew");
}

}  // namespace titan::data
