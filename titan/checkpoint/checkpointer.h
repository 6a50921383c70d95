// When a run saves and what it starts from: the settings of [checkpoint], TorchTitan's, applied to files. What a
// checkpoint looks like on disk is checkpoint_folder.h's; what is in it, train_state.h's. One process; it knows no
// model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "titan/checkpoint/checkpoint_folder.h"
#include "titan/checkpoint/train_state.h"
#include "titan/config/job_config.h"

namespace titan::checkpoint {

// What a run starts from.
struct LoadSource {
  std::filesystem::path path;
  std::optional<int64_t> step;  // of a checkpoint of this run's folder; none for an initial load
  bool model_only = false;      // the rest of the state stays as it is
};

class Checkpointer {
 public:
  // `hf_assets_path` is where checkpoint.initial_load_in_hf looks without an initial_load_path. `hugging_face` is the
  // model's format there, if it has one. Removes what crashed saves left, unless nothing is to be saved.
  // Throws c10::ValueError for settings that contradict each other.
  Checkpointer(config::Checkpoint settings, const std::filesystem::path& dump_folder,
               std::filesystem::path hf_assets_path, std::optional<ForeignFormat> hugging_face);

  // Whether a checkpoint is due after `step`.
  bool should_save(int64_t step, bool last_step) const;

  // Writes step-`step` and returns once it is on the disk; then removes the oldest over keep_latest_k. On the last step
  // it is what last_save_model_only, last_save_in_hf and export_dtype say; otherwise, as when a run is interrupted, the
  // whole state. A seed checkpoint is the last save of step 0. Tensors may be on any device.
  void save(int64_t step, const TrainState& state, bool last_step) const;

  // By load_step, then initial_load_path; nothing if the run starts from scratch. Reads a checkpoint of ours whole, to
  // check its checksums. Throws c10::ValueError if load_step is not there, or what would be taken is damaged.
  std::optional<LoadSource> find_source() const;

  // Copies what `source` holds into the tensors of `state`, in place, and sets its counters: all of them, or the model
  // only. Exact for a checkpoint of this run; an initial load of weights converts dtypes. What exclude_from_loading
  // names stays. The optimizer's tensors must exist already. Throws c10::ValueError listing every tensor that does not
  // fit, before any is written.
  void load(const LoadSource& source, TrainState& state) const;

 private:
  std::optional<LoadSource> resume_source() const;
  std::optional<LoadSource> initial_source() const;
  LoadSource usable_step(int64_t step) const;
  void load_full(const std::filesystem::path& path, TrainState& state) const;
  void load_model(const LoadSource& source, TrainState& state) const;
  Manifest write_files(const std::filesystem::path& folder, int64_t step, const TrainState& state,
                       bool last_step) const;
  std::vector<WrittenFile> write_model_for_hugging_face(const std::filesystem::path& folder,
                                                        const TrainState& state) const;
  at::ScalarType stored_dtype(const at::Tensor& weight, bool last_step) const;
  const ForeignFormat* foreign() const { return hugging_face_ ? &*hugging_face_ : nullptr; }

  config::Checkpoint settings_;
  std::filesystem::path hf_assets_path_;
  std::optional<ForeignFormat> hugging_face_;
  CheckpointFolder folder_;
  std::set<std::string> excluded_;
};

}  // namespace titan::checkpoint
