#include "titan/models/registry.h"

#include <deque>

#include "titan/models/llama3/spec.h"
#include "titan/models/qwen3/spec.h"

namespace titan::models {
namespace {

// Global, since a library's models come once for the whole process. Addresses of its elements hold.
std::deque<ModelSpec>& models() {
  static std::deque<ModelSpec> all = {llama3::spec(), qwen3::spec()};
  return all;
}

}  // namespace

const ModelSpec* find_model(std::string_view name) {
  for (const ModelSpec& model : models()) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

std::vector<std::string_view> model_names() {
  std::vector<std::string_view> names;
  for (const ModelSpec& model : models()) names.push_back(model.name);
  return names;
}

bool add_model(const ModelSpec& model) {
  if (find_model(model.name) != nullptr) return false;
  models().push_back(model);
  return true;
}

}  // namespace titan::models
