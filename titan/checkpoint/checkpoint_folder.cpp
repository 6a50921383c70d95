#include "titan/checkpoint/checkpoint_folder.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "titan/checkpoint/durable_file.h"
#include "titan/logging/logger.h"

namespace titan::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kSavingPrefix = ".saving-";
constexpr std::string_view kReplacedPrefix = ".replaced-";
constexpr std::string_view kRemovingPrefix = ".removing-";
constexpr int kManifestVersion = 1;

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

uint32_t crc32_of_text(std::string_view text) {
  return static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()));
}

json to_json(const Manifest& manifest) {
  json files = json::array();
  for (const auto& file : manifest.files) {
    files.push_back({{"name", file.name}, {"bytes", file.num_bytes}, {"crc32", file.crc32}});
  }
  return {{"version", kManifestVersion},
          {"step", manifest.step},
          {"contents", manifest.model_only ? "model" : "full"},
          {"counters", manifest.counters},
          {"files", std::move(files)}};
}

// Text that has its checksum was written by to_json, so its fields need no further checks than the version.
Manifest from_json(const json& stored) {
  Manifest manifest{.step = stored.at("step").get<int64_t>(),
                    .model_only = stored.at("contents") == "model",
                    .counters = stored.at("counters").get<std::map<std::string, int64_t>>(),
                    .files = {}};
  for (const json& file : stored.at("files")) {
    manifest.files.push_back({.name = file.at("name").get<std::string>(),
                              .num_bytes = file.at("bytes").get<uint64_t>(),
                              .crc32 = file.at("crc32").get<uint32_t>()});
  }
  return manifest;
}

void write_manifest(const fs::path& folder, const Manifest& manifest) {
  const json body = to_json(manifest);
  DurableFile file(folder / kManifestName);
  file.write(json({{"manifest", body}, {"crc32", crc32_of_text(body.dump())}}).dump(1) + "\n");
  file.commit();
}

void check_sizes(const fs::path& checkpoint, const Manifest& manifest) {
  for (const auto& file : manifest.files) {
    std::error_code error;
    const auto size = fs::file_size(checkpoint / file.name, error);
    TORCH_CHECK_VALUE(!error, (checkpoint / file.name).string(), ": is missing from the checkpoint");
    TORCH_CHECK_VALUE(size == file.num_bytes, (checkpoint / file.name).string(), ": is damaged: expected ",
                      file.num_bytes, " bytes, got ", size);
  }
}

bool is_whole(const fs::path& checkpoint) {
  try {
    check_sizes(checkpoint, read_manifest(checkpoint));
    return true;
  } catch (const c10::ValueError&) {
    return false;  // the answer to the question, not an error
  }
}

}  // namespace

Manifest read_manifest(const fs::path& checkpoint) {
  const auto path = checkpoint / kManifestName;
  std::ifstream in(path, std::ios::binary);
  TORCH_CHECK_VALUE(in.good(), path.string(), ": is missing from the checkpoint");
  const json stored = json::parse(in, nullptr, /*allow_exceptions=*/false);
  const bool well_formed = stored.is_object() && stored.contains("manifest") && stored.contains("crc32") &&
                           stored["crc32"].is_number_unsigned();
  TORCH_CHECK_VALUE(well_formed && stored["crc32"] == crc32_of_text(stored["manifest"].dump()), path.string(),
                    ": is damaged: its content does not have its checksum");
  const json& version = stored["manifest"].at("version");
  TORCH_CHECK_VALUE(version == kManifestVersion, path.string(), ": expected version ", kManifestVersion, ", got ",
                    version.dump(), "; it was written by another version of this program");
  return from_json(stored["manifest"]);
}

void verify(const fs::path& checkpoint, const Manifest& manifest) {
  check_sizes(checkpoint, manifest);
  for (const auto& file : manifest.files) {
    TORCH_CHECK_VALUE(crc32_of_file(checkpoint / file.name) == file.crc32, (checkpoint / file.name).string(),
                      ": is damaged: its content does not have the checksum that was stored with it");
  }
}

fs::path CheckpointFolder::step_path(int64_t step) const { return path_ / fmt::format("{}{}", kStepPrefix, step); }

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

void CheckpointFolder::add(int64_t step, const std::function<Manifest(const fs::path& folder)>& write) const {
  std::error_code error;
  fs::create_directories(path_, error);
  TORCH_CHECK(!error, path_.string(), ": cannot be created: ", error.message());
  const auto saving = path_ / fmt::format("{}{}", kSavingPrefix, step);
  fs::remove_all(saving);
  fs::create_directory(saving, error);
  TORCH_CHECK(!error, saving.string(), ": cannot be created: ", error.message());
  try {
    write_manifest(saving, write(saving));
  } catch (...) {
    fs::remove_all(saving, error);  // a full disk should not stay full; the error goes on
    throw;
  }
  flush_folder(saving);
  replace_folder(saving, step_path(step), path_ / fmt::format("{}{}", kReplacedPrefix, step));
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
