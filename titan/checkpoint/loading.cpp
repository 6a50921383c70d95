#include "titan/checkpoint/loading.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace titan::checkpoint {
namespace {

constexpr const char* kOptimizerPrefix = "optimizer.";
// Without these nobody knows where a run was.
constexpr const char* kRequired[] = {"train_state.step", "lr_scheduler.last_epoch"};

std::string section_of(const std::string& name) { return name.substr(0, name.find('.')); }

}  // namespace

Loading::Loading(const std::filesystem::path& path)
    : path_(path), manifest_(std::filesystem::is_directory(path) ? read_manifest(path) : std::nullopt) {
  tensors_ = open_tensors(path_);
  dcp_ = dynamic_cast<const DcpReader*>(tensors_.get());
  // Hugging Face's files have no checksums of their own, and are read where they are mapped.
  if (dcp_ == nullptr && manifest_) check_contents(path_, *manifest_);
}

bool Loading::plan_model(TrainState& state, const ForeignFormat* foreign, distributed::ProcessGroup* group) {
  const bool by_foreign = plan_.add_model(state.model, *tensors_, foreign);
  plan_.agree_on_unexpected(group);
  return by_foreign;
}

void Loading::plan_all(TrainState& state, const std::set<std::string>& excluded, const ForeignFormat* foreign,
                       distributed::ProcessGroup* group) {
  state_ = &state;
  for (const auto& [name, value] : state.counters) {
    if (!excluded.contains(section_of(name))) counters_.push_back(name);
  }
  const bool wants_model = !excluded.contains("model"), wants_optimizer = !excluded.contains("optimizer");
  const bool has_model_only = manifest_ ? manifest_->contents == "model"
                                        : dcp_ == nullptr || !dcp_->metadata().objects.contains("train_state.step");
  if (has_model_only) {
    TORCH_CHECK_VALUE(
        !wants_optimizer && counters_.empty(), path_.string(),
        ": holds the model only (checkpoint.last_save_model_only), so a run cannot resume from it; choose "
        "an earlier one by checkpoint.load_step, or start from its weights by "
        "checkpoint.exclude_from_loading = optimizer,lr_scheduler,dataloader,train_state");
    if (wants_model) plan_model(state, foreign, group);
    return;
  }
  TORCH_CHECK_VALUE(dcp_ != nullptr, path_.string(), ": expected a PyTorch DCP folder, to resume from");
  if (wants_model) plan_.add_exact("", state.model, *tensors_);
  if (wants_optimizer) plan_.add_exact(kOptimizerPrefix, state.optimizer, *tensors_);
  plan_.add_unexpected(*tensors_, [&](const std::string& name) {
    const bool of_optimizer = name.starts_with(kOptimizerPrefix);
    if (of_optimizer)
      return !wants_optimizer || state.optimizer.contains(name.substr(std::string(kOptimizerPrefix).size()));
    return !wants_model || state.model.contains(name);
  });
  plan_.agree_on_unexpected(group);
  for (const char* required : kRequired) {
    const bool wanted = std::find(counters_.begin(), counters_.end(), required) != counters_.end();
    TORCH_CHECK_VALUE(!wanted || dcp_->metadata().objects.contains(required), path_.string(), ": lacks '", required,
                      "', so a run cannot resume from it; name its section in checkpoint.exclude_from_loading");
  }
}

void Loading::run(int64_t num_threads) {
  std::map<std::string, std::optional<int64_t>> values;
  for (const std::string& name : counters_) values[name] = dcp_->read_integer(name);
  plan_.run(num_threads);
  for (const auto& [name, value] : values) {
    if (value) {
      state_->counters[name] = *value;
    } else {
      state_->counters.erase(name);
    }
  }
}

}  // namespace titan::checkpoint
