// Where a run is: what a checkpoint carries beside tensors, and its names there, TorchTitan's where TorchTitan has it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace titan::train {

// The parts differ only where checkpoint.exclude_from_loading starts one anew.
struct RunPosition {
  int64_t step = 0;             // steps done
  int64_t schedule_step = 0;    // of the learning rate
  int64_t next_sample = 0;      // position in the global order of samples
  int64_t num_tokens_seen = 0;  // by all ranks
};

// `batch_degree`: how many ranks read samples of their own.
std::map<std::string, int64_t> counters_of(const RunPosition& position, int64_t batch_degree);

// The same back. What `counters` lack, since another program wrote them, follows from the step: TorchTitan's place in
// the data is a state of each of its ranks, which means nothing here, so data go on after the samples of `step` steps
// of `global_batch_size`; one line says so.
RunPosition position_from(const std::map<std::string, int64_t>& counters, int64_t global_batch_size);

}  // namespace titan::train
