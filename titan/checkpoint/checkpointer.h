// When a run saves and what it starts from: the settings of [checkpoint], TorchTitan's, applied to files. What a
// checkpoint looks like on disk is checkpoint_folder.h's and saver.h's; what is in it, train_state.h's. It knows no
// model.
#pragma once

#include <c10/util/Exception.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "titan/checkpoint/checkpoint_folder.h"
#include "titan/checkpoint/saver.h"
#include "titan/checkpoint/train_state.h"
#include "titan/config/job_config.h"

namespace titan::checkpoint {

// What a run starts from.
struct LoadSource {
  std::filesystem::path path;
  std::optional<int64_t> step;  // of a checkpoint of this run's folder; none for an initial load
  bool model_only = false;      // the rest of the state stays as it is
};

// A checkpoint is not what was written.
class DamagedError : public c10::ValueError {
  using ValueError::ValueError;
};

class Checkpointer {
 public:
  // `hf_assets_path` is where checkpoint.initial_load_in_hf looks without an initial_load_path. `hugging_face` is the
  // model's format there, if it has one. Removes what crashed saves left, unless nothing is to be saved. `world` null:
  // this rank is alone; else collective, as everything here that is not said to be otherwise. Throws c10::ValueError
  // for settings that contradict each other.
  Checkpointer(config::Checkpoint settings, const std::filesystem::path& dump_folder,
               std::filesystem::path hf_assets_path, std::optional<ForeignFormat> hugging_face,
               std::shared_ptr<distributed::World> world = nullptr);

  // Whether a checkpoint is due after `step`. Not collective.
  bool should_save(int64_t step, bool last_step) const;

  // Writes step-`step`, by all ranks together, each what it holds; then removes the oldest over keep_latest_k. Returns
  // once it is on the disk; with an async_mode, waits for the one before, and returns once this one is begun: the state
  // must stay as it is until wait_until_copied(). On the last step it is
  // what last_save_model_only, last_save_in_hf and export_dtype say, and on the disk in any case; otherwise, as when a
  // run is interrupted, the whole state. A seed checkpoint is the last save of step 0. Tensors may be on any device.
  // Where it cannot be written, throws c10::Error or warns, by on_save_error.
  void save(int64_t step, const TrainState& state, bool last_step);

  // Returns when a save under way needs the state no longer. Not collective.
  void wait_until_copied();
  // Sees how a save under way is doing, without waiting: throws or warns if it has failed. Not collective.
  void check_save();
  // Waits for it.
  void wait_for_save();

  // Loads what the run starts from, by load_step, then the newest checkpoint there is, then initial_load_path. Nothing
  // if it starts from scratch. A damaged newest checkpoint is an error or makes way for the one before, by on_corrupt.
  // Throws c10::ValueError if load_step is not there, and as load().
  std::optional<LoadSource> load_newest(TrainState& state) const;

  // Copies what `source` holds into the tensors of `state`, in place, and sets its counters: all of them, or the model
  // only; counters that it lacks go, but for those without which no run resumes. Exact for the whole state; a load of
  // weights only converts dtypes. What exclude_from_loading names stays. The optimizer's tensors must exist already.
  // Throws c10::ValueError listing every tensor that does not fit, before any is written, and DamagedError; on all
  // ranks the same.
  void load(const LoadSource& source, TrainState& state) const;

 private:
  std::vector<LoadSource> sources() const;
  std::optional<LoadSource> initial_source() const;
  SaveRequest request_for(int64_t step, const TrainState& state, bool last_step) const;
  std::vector<WrittenFile> rewrite_for_hugging_face(const std::filesystem::path& folder) const;
  void on_failed_save(const c10::Error& error) const;
  bool is_rank_0() const;
  distributed::ProcessGroup* group() const;

  config::Checkpoint settings_;
  std::filesystem::path hf_assets_path_;
  std::optional<ForeignFormat> hugging_face_;
  std::shared_ptr<distributed::World> world_;  // null where this rank is alone
  CheckpointFolder folder_;
  std::set<std::string> excluded_;
  int64_t num_threads_;
  std::unique_ptr<Saver> saver_;
};

}  // namespace titan::checkpoint
