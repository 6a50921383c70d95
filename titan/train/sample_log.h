// data.log_samples: which samples each step was trained on, for who asks what the model saw before a spike of the loss,
// or whether a run that was resumed on other ranks skipped or repeated any.
//
// <dump_folder>/samples/rank_N.jsonl, one line a step: {"step": 7, "samples": [48, 49]}, indices in the one global
// order ([Note: sample order] in data/text_dataset.h). Each sample is named by one rank: the first of those that
// share it. A run that is resumed goes on in the same folder, from which the steps that it runs again are removed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

#include "titan/data/data_loader.h"

namespace titan::train {

// Removes from the folder's files, of all ranks, the steps behind `step`. To be called by one rank, before any adds to
// them. Throws c10::Error if one of them cannot be written.
void forget_samples_after(int64_t step, const std::filesystem::path& dump_folder);

class SampleLog {
 public:
  SampleLog(const std::filesystem::path& dump_folder, int64_t rank);

  // Throws c10::Error if the file cannot be written.
  void add(int64_t step, const std::vector<data::Batch>& microbatches);

 private:
  std::filesystem::path path_;
  std::ofstream file_;  // opened by the first add()
};

}  // namespace titan::train
