#include "titan/checkpoint/checkpointer.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "titan/checkpoint/convert.h"
#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/io_threads.h"
#include "titan/checkpoint/loading.h"
#include "titan/distributed/world.h"
#include "titan/logging/logger.h"

namespace titan::checkpoint {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kSections = {"model", "optimizer", "lr_scheduler", "dataloader", "train_state"};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double mebibytes(uint64_t num_bytes) { return static_cast<double>(num_bytes) / (1 << 20); }

bool is_checkpoint(const fs::path& path) {
  for (const char* name : {kManifestName, ".metadata", "model.safetensors.index.json"}) {
    if (fs::exists(path / name)) return true;
  }
  return false;
}

// What one rank found wrong with a checkpoint, for the others.
constexpr char kFits = 'f', kDamaged = 'd', kUnfitting = 'u';

// Runs `work` on every rank; what it throws on one, all throw: `kind` says what a ValueError in it means.
template <class Work>
void together(distributed::ProcessGroup* group, char kind, const Work& work) {
  std::string outcome(1, kFits);
  try {
    work();
  } catch (const c10::ValueError& error) {  // thrown below, with the others
    outcome = kind + std::string(error.what_without_backtrace());
  }
  for (const std::string& told : gather_texts(outcome, group)) {
    if (told[0] == kDamaged) throw DamagedError(told.substr(1), nullptr);
    TORCH_CHECK_VALUE(told[0] != kUnfitting, told.substr(1));
  }
}

}  // namespace

Checkpointer::Checkpointer(config::Checkpoint settings, const fs::path& dump_folder, fs::path hf_assets_path,
                           std::optional<ForeignFormat> hugging_face, std::shared_ptr<distributed::World> world)
    : settings_(std::move(settings)),
      hf_assets_path_(std::move(hf_assets_path)),
      hugging_face_(std::move(hugging_face)),
      world_(std::move(world)),
      folder_(dump_folder / settings_.folder),
      excluded_(settings_.exclude_from_loading.begin(), settings_.exclude_from_loading.end()),
      num_threads_(io_threads(world_ ? world_->info().local_world_size : 1)) {
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
  saver_ = std::make_unique<Saver>(folder_, world_,
                                   SaverOptions{.async = settings_.async_mode != "disabled",
                                                .pinned = settings_.async_mode == "async_with_pinned_mem",
                                                .num_threads = num_threads_});
  if (!settings_.load_only && is_rank_0()) folder_.remove_leftovers();
  gather_texts("", group());  // nobody looks before it is tidy
}

bool Checkpointer::should_save(int64_t step, bool last_step) const {
  if (!settings_.enable || settings_.load_only) return false;
  if (step == 1 && settings_.enable_first_step_checkpoint) return true;
  return last_step || step % settings_.interval == 0;
}

void Checkpointer::save(int64_t step, const TrainState& state, bool last_step) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    saver_->save(request_for(step, state, last_step));
    if (last_step) saver_->wait();
  } catch (const c10::Error& error) {
    on_failed_save(error);
    return;
  }
  if (settings_.async_mode != "disabled" && !last_step) {
    logging::info("Saving the full state at step {} while training goes on; began in {:.2f} seconds.", step,
                  seconds_since(begin));
  }
}

SaveRequest Checkpointer::request_for(int64_t step, const TrainState& state, bool last_step) const {
  const bool model_only = last_step && settings_.last_save_model_only;
  SaveRequest request{.step = step, .contents = model_only ? "model" : "full"};

  // As in TorchTitan: float32, the default, leaves weights as they are.
  const auto export_dtype = *dtype_of_torch(settings_.export_dtype);
  const bool exports = model_only && export_dtype != at::kFloat;
  add_items(request.items, "", state.model, exports ? std::optional(export_dtype) : std::nullopt);
  if (!model_only) {
    add_items(request.items, "optimizer.", state.optimizer);
    request.objects = state.for_others;
    for (const auto& [name, value] : state.counters) request.objects[name] = value;
  }

  if (!is_rank_0()) return request;
  if (model_only && settings_.last_save_in_hf) {
    request.rewrite = [this](const fs::path& folder) { return rewrite_for_hugging_face(folder); };
  }
  request.then = [this, step, model_only, begin = std::chrono::steady_clock::now()] {
    const auto manifest = read_manifest(folder_.step_path(step));
    logging::info("Saved the {} at step {} to {} ({:.1f} MiB) in {:.2f} seconds.", model_only ? "model" : "full state",
                  step, folder_.step_path(step).string(), mebibytes(manifest->num_bytes()), seconds_since(begin));
    if (settings_.keep_latest_k > 0) folder_.remove_old(settings_.keep_latest_k, step);
  };
  return request;
}

std::vector<WrittenFile> Checkpointer::rewrite_for_hugging_face(const fs::path& folder) const {
  std::vector<fs::path> ours;
  for (const auto& entry : fs::directory_iterator(folder)) ours.push_back(entry.path());
  auto files = convert_to_hugging_face(DcpReader(folder), *hugging_face_, folder);
  for (const fs::path& path : ours) fs::remove(path);
  return files;
}

void Checkpointer::wait_until_copied() { saver_->wait_until_copied(); }

void Checkpointer::check_save() {
  try {
    saver_->check();
  } catch (const c10::Error& error) {
    on_failed_save(error);
  }
}

void Checkpointer::wait_for_save() {
  try {
    saver_->wait();
  } catch (const c10::Error& error) {
    on_failed_save(error);
  }
}

void Checkpointer::on_failed_save(const c10::Error& error) const {
  TORCH_CHECK(settings_.on_save_error == "warn", "checkpoint: ", error.what_without_backtrace(),
              "; checkpoint.on_save_error = warn would go on without it");
  logging::warning("No checkpoint was saved, training goes on (checkpoint.on_save_error = warn): {}",
                   error.what_without_backtrace());
}

std::optional<LoadSource> Checkpointer::load_newest(TrainState& state) const {
  if (!settings_.enable) return std::nullopt;
  const auto found = sources();
  if (!found.empty() && settings_.initial_load_path) {
    logging::warning("checkpoint.initial_load_path is not used: {} has checkpoints of this run.",
                     folder_.path().string());
  }
  for (size_t i = 0; i < found.size(); ++i) {
    const bool may_go_on = settings_.on_corrupt == "previous" && settings_.load_step < 0 && i + 1 < found.size();
    try {
      load(found[i], state);
      return found[i];
    } catch (const DamagedError& error) {
      if (!may_go_on) throw;  // else checkpoint.on_corrupt = previous asks for the one before
      logging::warning("{} is passed over: {}", found[i].path.string(), error.what_without_backtrace());
    }
  }
  auto initial = found.empty() ? initial_source() : std::nullopt;
  if (initial) load(*initial, state);
  return initial;
}

// Of this run's folder, newest first; only the one that was asked for, if one was.
std::vector<LoadSource> Checkpointer::sources() const {
  auto steps = folder_.steps();
  std::reverse(steps.begin(), steps.end());
  if (settings_.load_step >= 0) {
    TORCH_CHECK_VALUE(std::find(steps.begin(), steps.end(), settings_.load_step) != steps.end(),
                      "checkpoint.load_step: expected one of the steps in ", folder_.path().string(), " (",
                      steps.empty() ? "none is there" : fmt::format("{}", fmt::join(folder_.steps(), ", ")), "), got ",
                      settings_.load_step);
    steps = {settings_.load_step};
  }
  std::vector<LoadSource> found;
  for (const int64_t step : steps) {
    const auto path = folder_.step_path(step);
    if (is_checkpoint(path)) {
      // Step 0 is a seed checkpoint: weights only, in any format.
      found.push_back({.path = path, .step = step, .model_only = step == 0});
    } else {
      logging::warning("{} is passed over: it is no complete checkpoint ({} and .metadata are missing).", path.string(),
                       kManifestName);
    }
  }
  return found;
}

std::optional<LoadSource> Checkpointer::initial_source() const {
  if (!settings_.initial_load_path && !settings_.initial_load_in_hf) return std::nullopt;
  const bool given = settings_.initial_load_path.has_value();
  const fs::path path = given ? fs::path(*settings_.initial_load_path) : hf_assets_path_;
  TORCH_CHECK_VALUE(fs::exists(path), given ? "checkpoint.initial_load_path" : "model.hf_assets_path",
                    ": expected a checkpoint, got '", path.string(), "', which does not exist");
  return LoadSource{.path = path, .step = std::nullopt, .model_only = settings_.initial_load_model_only};
}

void Checkpointer::load(const LoadSource& source, TrainState& state) const {
  const auto begin = std::chrono::steady_clock::now();
  const ForeignFormat* foreign = hugging_face_ ? &*hugging_face_ : nullptr;
  std::optional<Loading> loading;
  together(group(), kDamaged, [&] { loading.emplace(source.path); });
  together(group(), kUnfitting, [&] {
    if (!source.model_only) return loading->plan_all(state, excluded_, foreign, group());
    const bool by_foreign = loading->plan_model(state, foreign, group());
    TORCH_CHECK_VALUE(by_foreign || source.step || !settings_.initial_load_in_hf,
                      "checkpoint.initial_load_in_hf: expected Hugging Face's tensor names in ", source.path.string(),
                      ", got this program's own; leave it off");
  });
  together(group(), kUnfitting, [&] { loading->check(); });
  together(group(), kDamaged, [&] { loading->run(num_threads_); });
  logging::info("Loaded the {} from {} in {:.2f} seconds.", source.model_only ? "model" : "full state",
                source.path.string(), seconds_since(begin));
}

bool Checkpointer::is_rank_0() const { return world_ == nullptr || world_->rank() == 0; }

distributed::ProcessGroup* Checkpointer::group() const {
  // The ranks of a fake world are not there.
  return world_ == nullptr || world_->backend() == "fake" ? nullptr : world_->group().get();
}

}  // namespace titan::checkpoint
