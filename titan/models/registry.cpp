#include "titan/models/registry.h"

#include "titan/models/llama3/spec.h"
#include "titan/models/qwen3/spec.h"

namespace titan::models {

const ModelSpec* find_model(std::string_view name) {
  static const ModelSpec models[] = {llama3::spec(), qwen3::spec()};
  for (const ModelSpec& model : models) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

}  // namespace titan::models
