// Can `titan train` honour this job today? The states of the keys are in the field lists; this file applies them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "titan/config/job_config.h"
#include "titan/config/problems.h"

namespace titan::config {

// Adds a line for every key that asks for something which is not there yet and would change numbers, layout or memory.
// What only concerns speed gets a line in `notes`.
void settle_on_available(JobConfig& config, Problems& problems, std::vector<std::string>& notes);

}  // namespace titan::config
