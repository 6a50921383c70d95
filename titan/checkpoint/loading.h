// One load of a training state: opens a checkpoint of any format, finds out whether it fits, and takes from it what
// this rank holds. Which checkpoint that is, is checkpointer.h's matter.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "titan/checkpoint/dcp_reader.h"
#include "titan/checkpoint/load_plan.h"
#include "titan/checkpoint/train_state.h"

namespace titan::checkpoint {

class Loading {
 public:
  // Throws c10::ValueError if `path` holds no checkpoint, or one that is damaged.
  explicit Loading(const std::filesystem::path& path);

  // Plans. Throw c10::ValueError if the checkpoint is not of the right kind; what of the tensors does not fit comes in
  // one error of check(). Collective over `group` (null: alone). `state` must outlive this.
  // Weights only; returns whether they have foreign names.
  bool plan_model(TrainState& state, const ForeignFormat* foreign, distributed::ProcessGroup* group);
  // All but the sections in `excluded`.
  void plan_all(TrainState& state, const std::set<std::string>& excluded, const ForeignFormat* foreign,
                distributed::ProcessGroup* group);
  void check() const { plan_.check(path_.string()); }

  // Copies. Throws c10::ValueError where bytes are damaged.
  void run(int64_t num_threads);

 private:
  std::filesystem::path path_;
  std::optional<Manifest> manifest_;
  std::unique_ptr<TensorReader> tensors_;
  const DcpReader* dcp_;  // the same, if it is that; else null
  LoadPlan plan_;
  std::vector<std::string> counters_;  // to be read
  TrainState* state_ = nullptr;
};

}  // namespace titan::checkpoint
