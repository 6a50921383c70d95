#include "titan/models/registry.h"

#include "titan/models/llama3/spec.h"

namespace titan::models {

std::span<const ModelSpec> all_models() {
  static const ModelSpec models[] = {llama3::spec()};
  return models;
}

const ModelSpec* find_model(std::string_view name) {
  for (const ModelSpec& model : all_models()) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

}  // namespace titan::models
