// All model families, by the name that model.name selects.
#pragma once

#include <string_view>

#include "titan/models/model_spec.h"

namespace titan::models {

// Null if there is none.
const ModelSpec* find_model(std::string_view name);

}  // namespace titan::models
