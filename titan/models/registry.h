// All model families, by the name that model.name selects.
#pragma once

#include <span>
#include <string_view>

#include "titan/models/model_spec.h"

namespace titan::models {

std::span<const ModelSpec> all_models();

// Null if there is none; a line that names the key is added to `problems` then.
const ModelSpec* find_model(std::string_view name, config::Problems& problems);

}  // namespace titan::models
