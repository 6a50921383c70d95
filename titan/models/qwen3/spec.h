// Qwen 3 as the program sees it.
#pragma once

#include "titan/models/model_spec.h"

namespace titan::models::qwen3 {

ModelSpec spec();

}  // namespace titan::models::qwen3
