// The verb `titan verify`, with a door for tests: errors to plant, which it must find.
#pragma once

#include "cli/verbs.h"
#include "titan/distributed/backend.h"
#include "titan/train/trainer.h"

namespace titan::cli {

// In the ranks of compared layouts; nothing of it in the product.
struct PlantedFaults {
  train::StepObserver* observer = nullptr;   // may change batches and gradients
  distributed::BackendFactory make_backend;  // what the ranks talk through
  Arguments flags;                           // further flags of `titan train`
};

int run_verify_with(const Arguments& arguments, const PlantedFaults& faults);

}  // namespace titan::cli
