#include "titan/checkpoint/checkpoint_folder.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

#include "titan/checkpoint/durable_file.h"
#include "titan/logging/logger.h"

namespace titan::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kSavingPrefix = ".saving-";
constexpr std::string_view kReplacedPrefix = ".replaced-";
constexpr std::string_view kRemovingPrefix = ".removing-";

// N of "<prefix>N", written as a plain decimal.
std::optional<int64_t> number_after(std::string_view prefix, std::string_view name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  const auto digits = name.substr(prefix.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool plain =
      error == std::errc() && end == digits.data() + digits.size() && number >= 0 && digits == std::to_string(number);
  return plain ? std::optional(number) : std::nullopt;
}

bool is_whole(const fs::path& checkpoint) {
  try {
    const auto manifest = read_manifest(checkpoint);
    if (manifest) check_sizes(checkpoint, *manifest);
    return manifest.has_value();
  } catch (const c10::ValueError&) {
    return false;  // the answer to the question, not an error
  }
}

}  // namespace

fs::path CheckpointFolder::step_path(int64_t step) const { return path_ / fmt::format("{}{}", kStepPrefix, step); }

fs::path CheckpointFolder::saving_path(int64_t step) const { return path_ / fmt::format("{}{}", kSavingPrefix, step); }

std::vector<int64_t> CheckpointFolder::steps() const {
  std::vector<int64_t> steps;
  if (!fs::is_directory(path_)) return steps;
  for (const auto& entry : fs::directory_iterator(path_)) {
    const auto step = number_after(kStepPrefix, entry.path().filename().string());
    if (step && entry.is_directory()) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

void CheckpointFolder::remove_leftovers() const {
  if (!fs::is_directory(path_)) return;
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(path_)) entries.push_back(entry.path());
  for (const fs::path& entry : entries) {
    const auto name = entry.filename().string();
    if (const auto replaced = number_after(kReplacedPrefix, name); replaced && !fs::exists(step_path(*replaced))) {
      fs::rename(entry, step_path(*replaced));
      flush_folder(path_);
    } else if (replaced || number_after(kSavingPrefix, name) || number_after(kRemovingPrefix, name)) {
      logging::info("Removing {}, left by an interrupted save.", entry.string());
      fs::remove_all(entry);
    }
  }
}

fs::path CheckpointFolder::begin(int64_t step) const {
  std::error_code error;
  fs::create_directories(path_, error);
  TORCH_CHECK(!error, path_.string(), ": cannot be created: ", error.message());
  const auto saving = saving_path(step);
  fs::remove_all(saving, error);
  TORCH_CHECK(!error, saving.string(), ": cannot be removed: ", error.message());
  fs::create_directory(saving, error);
  TORCH_CHECK(!error, saving.string(), ": cannot be created: ", error.message());
  return saving;
}

void CheckpointFolder::commit(int64_t step, const Manifest& manifest) const {
  const auto saving = saving_path(step);
  write_manifest(saving, manifest);
  flush_folder(saving);
  replace_folder(saving, step_path(step), path_ / fmt::format("{}{}", kReplacedPrefix, step));
}

void CheckpointFolder::abandon(int64_t step) const {
  std::error_code ignored;
  fs::remove_all(saving_path(step), ignored);
}

void CheckpointFolder::remove_old(int64_t keep, int64_t newest) const {
  int64_t num_kept = 0;
  auto steps = this->steps();
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const auto path = step_path(*step);
    if (num_kept < keep || *step == newest) {
      num_kept += is_whole(path);
      continue;
    }
    if (!fs::exists(path / kManifestName)) continue;
    logging::info("Removing the old checkpoint {}.", path.string());
    const auto removing = path_ / fmt::format("{}{}", kRemovingPrefix, *step);
    fs::remove_all(removing);
    fs::rename(path, removing);
    flush_folder(path_);
    fs::remove_all(removing);
  }
}

}  // namespace titan::checkpoint
