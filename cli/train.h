// titan train, with what tests put into its ranks' world.
#pragma once

#include "cli/job.h"
#include "cli/verbs.h"

namespace titan::cli {

int run_train_with(const Arguments& arguments, PlantedInWorld planted);

}  // namespace titan::cli
