// All model families, by the name that model.name selects: ours, and those that load_extension adds.
#pragma once

#include <string_view>
#include <vector>

#include "titan/models/model_spec.h"

namespace titan::models {

// Null if there is none. Valid until the program ends.
const ModelSpec* find_model(std::string_view name);

// In the order in which they came.
std::vector<std::string_view> model_names();

// False, and nothing changes, if there is one of its name. Not for several threads at once.
bool add_model(const ModelSpec& model);

}  // namespace titan::models
