#include "titan/train/run_position.h"

#include <optional>

#include "titan/logging/logger.h"

namespace titan::train {
namespace {

constexpr const char* kStep = "train_state.step";
constexpr const char* kTokensOfRank = "train_state.ntokens_seen";  // as TorchTitan counts them: of one rank
constexpr const char* kTokens = "train_state.global_ntokens_seen";
constexpr const char* kScheduleStep = "lr_scheduler.last_epoch";
constexpr const char* kNextSample = "dataloader.next_sample";
constexpr const char* kBatchDegree = "dataloader.world_size";

}  // namespace

std::map<std::string, int64_t> counters_of(const RunPosition& position, int64_t batch_degree) {
  return {{kStep, position.step},
          {kTokensOfRank, position.num_tokens_seen / batch_degree},
          {kTokens, position.num_tokens_seen},
          {kScheduleStep, position.schedule_step},
          {kNextSample, position.next_sample},
          {kBatchDegree, batch_degree}};
}

RunPosition position_from(const std::map<std::string, int64_t>& counters, int64_t global_batch_size) {
  const auto find = [&](const char* name) {
    const auto found = counters.find(name);
    return found == counters.end() ? std::nullopt : std::optional(found->second);
  };
  RunPosition position{.step = counters.at(kStep), .schedule_step = counters.at(kScheduleStep)};
  const auto next_sample = find(kNextSample), tokens = find(kTokens);
  position.next_sample = next_sample.value_or(position.step * global_batch_size);
  position.num_tokens_seen = tokens.value_or(find(kTokensOfRank).value_or(0) * find(kBatchDegree).value_or(1));
  if (!next_sample) {
    logging::info(
        "The checkpoint's place in the data is another program's: data go on at sample {} (step {} x {} samples).",
        position.next_sample, position.step, global_batch_size);
  }
  return position;
}

}  // namespace titan::train
