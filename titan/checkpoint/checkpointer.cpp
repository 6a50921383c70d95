#include "titan/checkpoint/checkpointer.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/durable_file.h"
#include "titan/checkpoint/load_plan.h"
#include "titan/checkpoint/safetensors_reader.h"
#include "titan/checkpoint/tensor_reader.h"
#include "titan/logging/logger.h"

namespace titan::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
const std::vector<std::string> kSections = {"model", "optimizer", "lr_scheduler", "dataloader", "train_state"};

std::string section_of(const std::string& counter) { return counter.substr(0, counter.find('.')); }

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double mebibytes_of(const Manifest& manifest) {
  double num_bytes = 0;
  for (const auto& file : manifest.files) num_bytes += static_cast<double>(file.num_bytes);
  return num_bytes / (1 << 20);
}

}  // namespace

Checkpointer::Checkpointer(config::Checkpoint settings, const fs::path& dump_folder, fs::path hf_assets_path,
                           std::optional<ForeignFormat> hugging_face)
    : settings_(std::move(settings)),
      hf_assets_path_(std::move(hf_assets_path)),
      hugging_face_(std::move(hugging_face)),
      folder_(dump_folder / settings_.folder),
      excluded_(settings_.exclude_from_loading.begin(), settings_.exclude_from_loading.end()) {
  if (!settings_.enable) return;
  TORCH_CHECK_VALUE(settings_.interval >= 1, "checkpoint.interval: expected at least 1, got ", settings_.interval);
  TORCH_CHECK_VALUE(settings_.keep_latest_k >= 0 && settings_.keep_latest_k != 1,
                    "checkpoint.keep_latest_k: expected 0 (all) or at least 2, got ", settings_.keep_latest_k,
                    "; with 1 a damaged checkpoint would leave none");
  TORCH_CHECK_VALUE(settings_.last_save_model_only || !settings_.last_save_in_hf,
                    "checkpoint.last_save_in_hf: needs checkpoint.last_save_model_only: the format has weights only");
  TORCH_CHECK_VALUE(settings_.initial_load_model_only || !settings_.initial_load_in_hf,
                    "checkpoint.initial_load_in_hf: needs checkpoint.initial_load_model_only: the format has weights "
                    "only");
  TORCH_CHECK_VALUE(hugging_face_ || !(settings_.last_save_in_hf || settings_.initial_load_in_hf),
                    settings_.last_save_in_hf ? "checkpoint.last_save_in_hf" : "checkpoint.initial_load_in_hf",
                    ": this model has no Hugging Face format; leave it off");
  TORCH_CHECK_VALUE(dtype_of_torch(settings_.export_dtype),
                    "checkpoint.export_dtype: expected float16, bfloat16 or float32, got '", settings_.export_dtype,
                    "'");
  for (const auto& section : excluded_) {
    TORCH_CHECK_VALUE(std::find(kSections.begin(), kSections.end(), section) != kSections.end(),
                      "checkpoint.exclude_from_loading: expected some of ",
                      fmt::format("{}", fmt::join(kSections, ", ")), ", got '", section, "'");
  }
  if (!settings_.load_only) folder_.remove_leftovers();
}

bool Checkpointer::should_save(int64_t step, bool last_step) const {
  if (!settings_.enable || settings_.load_only) return false;
  if (step == 1 && settings_.enable_first_step_checkpoint) return true;
  return last_step || step % settings_.interval == 0;
}

void Checkpointer::save(int64_t step, const TrainState& state, bool last_step) const {
  const auto begin = std::chrono::steady_clock::now();
  Manifest written;
  folder_.add(step, [&](const fs::path& folder) { return written = write_files(folder, step, state, last_step); });
  logging::info("Saved the {} at step {} to {} ({:.1f} MiB) in {:.2f} seconds.",
                written.model_only ? "model" : "full state", step, folder_.step_path(step).string(),
                mebibytes_of(written), seconds_since(begin));
  if (settings_.keep_latest_k > 0) folder_.remove_old(settings_.keep_latest_k, step);
}

Manifest Checkpointer::write_files(const fs::path& folder, int64_t step, const TrainState& state,
                                   bool last_step) const {
  Manifest manifest{
      .step = step, .model_only = last_step && settings_.last_save_model_only, .counters = {}, .files = {}};
  if (manifest.model_only && settings_.last_save_in_hf) {
    manifest.files = write_model_for_hugging_face(folder, state);
    return manifest;
  }

  std::map<std::string, TensorInfo> infos;
  for (const auto& [fqn, weight] : state.model) {
    infos.emplace(fqn, TensorInfo{stored_dtype(weight, last_step), weight.sizes().vec()});
  }
  manifest.files.push_back(write_safetensors(
      folder / kModelFile, infos, [&](const std::string& fqn) { return state.model.at(fqn).to(infos.at(fqn).dtype); }));
  if (manifest.model_only) return manifest;

  infos.clear();
  for (const auto& [name, tensor] : state.optimizer) infos.emplace(name, info_of(tensor));
  manifest.files.push_back(write_safetensors(folder / kOptimizerFile, infos,
                                             [&](const std::string& name) { return state.optimizer.at(name); }));
  manifest.counters = state.counters;
  return manifest;
}

std::vector<WrittenFile> Checkpointer::write_model_for_hugging_face(const fs::path& folder,
                                                                    const TrainState& state) const {
  std::map<std::string, TensorInfo> infos;
  std::map<std::string, std::string> fqns;
  at::ScalarType dtype = at::kFloat;
  for (const auto& [fqn, weight] : state.model) {
    const auto name = hugging_face_->to_name(fqn);
    if (!name) continue;  // tied: stored under its other name
    dtype = stored_dtype(weight, /*last_step=*/true);
    infos.emplace(*name, TensorInfo{dtype, weight.sizes().vec()});
    fqns.emplace(*name, fqn);
  }
  auto files = write_safetensors_folder(folder, infos, [&](const std::string& name) {
    const auto& fqn = fqns.at(name);
    return hugging_face_->to_foreign(fqn, state.model.at(fqn).detach().to(infos.at(name).dtype));
  });
  DurableFile config(folder / "config.json");
  config.write(hugging_face_->config_json(dtype));
  config.commit();
  files.push_back({.name = "config.json", .num_bytes = config.num_bytes(), .crc32 = config.crc32()});
  return files;
}

at::ScalarType Checkpointer::stored_dtype(const at::Tensor& weight, bool last_step) const {
  // As in TorchTitan: float32, the default, leaves weights as they are.
  const auto export_dtype = *dtype_of_torch(settings_.export_dtype);
  const bool exports = last_step && settings_.last_save_model_only && export_dtype != at::kFloat;
  return exports && weight.is_floating_point() ? export_dtype : weight.scalar_type();
}

std::optional<LoadSource> Checkpointer::find_source() const {
  if (!settings_.enable) return std::nullopt;
  if (auto source = resume_source()) {
    if (settings_.initial_load_path) {
      logging::warning("checkpoint.initial_load_path is not used: {} has checkpoints of this run.",
                       folder_.path().string());
    }
    return source;
  }
  return initial_source();
}

std::optional<LoadSource> Checkpointer::resume_source() const {
  const auto steps = folder_.steps();
  if (settings_.load_step >= 0) {
    TORCH_CHECK_VALUE(std::binary_search(steps.begin(), steps.end(), settings_.load_step),
                      "checkpoint.load_step: expected one of the steps in ", folder_.path().string(), " (",
                      steps.empty() ? "none is there" : fmt::format("{}", fmt::join(steps, ", ")), "), got ",
                      settings_.load_step);
    return usable_step(settings_.load_step);
  }
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const auto path = folder_.step_path(*step);
    if (!fs::exists(path / kManifestName) && !fs::exists(path / ".metadata")) {
      logging::warning("{} is passed over: it is no complete checkpoint ({} is missing).", path.string(),
                       kManifestName);
      continue;
    }
    if (settings_.on_corrupt == "stop") return usable_step(*step);
    try {
      return usable_step(*step);
    } catch (const c10::ValueError& error) {  // checkpoint.on_corrupt = previous asks for it
      logging::warning("{} is passed over: {}", path.string(), error.what_without_backtrace());
    }
  }
  return std::nullopt;
}

LoadSource Checkpointer::usable_step(int64_t step) const {
  const auto path = folder_.step_path(step);
  const bool is_ours = fs::exists(path / kManifestName);
  // Step 0 is a seed checkpoint: weights only, in any format.
  TORCH_CHECK_VALUE(is_ours || step == 0, path.string(),
                    ": resuming from a PyTorch DCP checkpoint is not available yet; give its folder as "
                    "checkpoint.initial_load_path with another checkpoint.folder to start from its weights");
  if (is_ours) verify(path, read_manifest(path));
  return {.path = path, .step = step, .model_only = step == 0};
}

std::optional<LoadSource> Checkpointer::initial_source() const {
  if (!settings_.initial_load_path && !settings_.initial_load_in_hf) return std::nullopt;
  const bool given = settings_.initial_load_path.has_value();
  const fs::path path = given ? fs::path(*settings_.initial_load_path) : hf_assets_path_;
  TORCH_CHECK_VALUE(fs::exists(path), given ? "checkpoint.initial_load_path" : "model.hf_assets_path",
                    ": expected a checkpoint, got '", path.string(), "', which does not exist");
  if (fs::exists(path / kManifestName)) verify(path, read_manifest(path));
  return LoadSource{.path = path, .step = std::nullopt, .model_only = settings_.initial_load_model_only};
}

void Checkpointer::load(const LoadSource& source, TrainState& state) const {
  const auto begin = std::chrono::steady_clock::now();
  if (source.model_only) {
    load_model(source, state);
  } else {
    load_full(source.path, state);
  }
  logging::info("Loaded the {} from {} in {:.2f} seconds.", source.model_only ? "model" : "full state",
                source.path.string(), seconds_since(begin));
}

void Checkpointer::load_model(const LoadSource& source, TrainState& state) const {
  const auto stored = open_tensors(source.path);
  LoadPlan plan;
  const bool by_foreign = plan.add_model(state.model, *stored, foreign());
  plan.check(source.path.string());
  TORCH_CHECK_VALUE(by_foreign || source.step || !settings_.initial_load_in_hf,
                    "checkpoint.initial_load_in_hf: expected Hugging Face's tensor names in ", source.path.string(),
                    ", got this program's own; leave it off");
  plan.run();
}

void Checkpointer::load_full(const fs::path& path, TrainState& state) const {
  TORCH_CHECK_VALUE(fs::exists(path / kManifestName),
                    "checkpoint.initial_load_model_only: expected true, got false: ", path.string(),
                    " has no training state that can be read (", kManifestName, " is missing)");
  const Manifest manifest = read_manifest(path);

  // 1. What is wanted of it.
  std::map<std::string, int64_t> counters;
  for (const auto& [name, value] : state.counters) {
    if (!excluded_.contains(section_of(name))) counters.emplace(name, value);
  }
  const bool wants_optimizer = !excluded_.contains("optimizer");
  TORCH_CHECK_VALUE(!manifest.model_only || (!wants_optimizer && counters.empty()), path.string(),
                    ": holds the model only (checkpoint.last_save_model_only), so a run cannot resume from it; choose "
                    "an earlier one by checkpoint.load_step, or start from its weights by "
                    "checkpoint.exclude_from_loading = optimizer,lr_scheduler,dataloader,train_state");

  // 2. Whether all of it fits.
  LoadPlan plan;
  std::unique_ptr<TensorReader> model, optimizer;
  if (!excluded_.contains("model")) {
    model = open_tensors(path);
    if (manifest.model_only) {
      plan.add_model(state.model, *model, foreign());
    } else {
      plan.add_exact("model", state.model, *model);
    }
  }
  if (wants_optimizer) {
    optimizer = std::make_unique<SafetensorsReader>(path / kOptimizerFile);
    plan.add_exact("optimizer", state.optimizer, *optimizer);
  }
  plan.check(path.string());
  for (const auto& [name, value] : counters) {
    TORCH_CHECK_VALUE(manifest.counters.contains(name), (path / kManifestName).string(), ": lacks '", name,
                      "'; it was written by another version of this program");
  }

  // 3. Take it.
  plan.run();
  for (const auto& [name, value] : counters) state.counters[name] = manifest.counters.at(name);
}

}  // namespace titan::checkpoint
