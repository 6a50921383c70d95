// The arguments of `titan bench`, for those who judge them before its ranks start.
#pragma once

#include <optional>
#include <string>

#include "cli/verbs.h"
#include "titan/bench/measurement.h"
#include "titan/config/reader.h"

namespace titan::cli {

struct Bench {
  bench::BenchOptions options;
  std::optional<std::string> json_file;
  Arguments train_flags;
  config::Reading job;  // of train_flags, changed by bench::only_train
};

// Reads the job with its file. Throws c10::ValueError for a wrong flag of the verb's own; what is wrong with the job
// goes to `problems`.
Bench read_bench(const Arguments& arguments, config::Problems& problems);

}  // namespace titan::cli
