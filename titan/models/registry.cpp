#include "titan/models/registry.h"

#include <fmt/format.h>

#include "titan/config/problems.h"
#include "titan/models/llama3/spec.h"

namespace titan::models {

std::span<const ModelSpec> all_models() {
  static const ModelSpec models[] = {llama3::spec()};
  return models;
}

const ModelSpec* find_model(std::string_view name, config::Problems& problems) {
  std::string known;
  for (const ModelSpec& model : all_models()) {
    if (model.name == name) return &model;
    known += (known.empty() ? "" : ", ") + std::string(model.name);
  }
  problems.add(fmt::format("model.name: expected one of {}, got '{}'", known, name));
  return nullptr;
}

}  // namespace titan::models
