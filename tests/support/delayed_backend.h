// A backend on which every operation takes some time longer, as on a slow network: shows what runs at the same time.
#pragma once

#include <chrono>

#include "titan/distributed/backend.h"

namespace titan::test {

// Each operation of what `make` makes is over `delay` after its start at the earliest; starting does not wait.
distributed::BackendFactory delayed(distributed::BackendFactory make, std::chrono::milliseconds delay);

}  // namespace titan::test
