#include "titan/models/load_extension.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <string_view>

#include "titan/config/problems.h"
#include "titan/models/extension.h"
#include "titan/models/registry.h"

namespace titan::models {
namespace {

constexpr const char* kKey = "experimental.custom_import";
constexpr const char* kSymbol = "titan_extension";

// Null after adding a line.
const Extension* open_extension(const std::filesystem::path& file, config::Problems& problems) {
  if (!std::filesystem::is_regular_file(file)) {
    problems.add(fmt::format("{}: no such file: {}; expected the path of a shared library (.so) with models", kKey,
                             file.string()));
    return nullptr;
  }
  // Every symbol now: one that is missing would otherwise end the program in the middle of a step.
  void* const library = dlopen(std::filesystem::absolute(file).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    problems.add(fmt::format("{}: cannot load {}: {}; build it against this titan.cpp ({})", kKey, file.string(),
                             dlerror(), kBuildStamp));
    return nullptr;
  }
  const auto* const extension = static_cast<const Extension*>(dlsym(library, kSymbol));
  if (extension == nullptr) {
    problems.add(
        fmt::format("{}: {} is no library of models: it has no symbol {}; docs/extending.md shows how to make "
                    "one",
                    kKey, file.string(), kSymbol));
    return nullptr;
  }
  // [Note: build stamp]
  if (std::string_view(extension->built_for) != kBuildStamp) {
    problems.add(fmt::format("{}: {} was built against titan.cpp {}, but this is {}; build it again", kKey,
                             file.string(), extension->built_for, kBuildStamp));
    return nullptr;
  }
  return extension;
}

}  // namespace

void load_extension(const std::string& path, config::Problems& problems) {
  static std::set<std::filesystem::path> loaded;  // libraries cannot be unloaded: models and their vtables live there
  std::error_code ignored;
  const std::filesystem::path file(path), known_as = std::filesystem::weakly_canonical(file, ignored);
  if (loaded.contains(known_as)) return;
  const Extension* const extension = open_extension(file, problems);
  if (extension == nullptr) return;

  for (const ModelSpec& model : extension->models()) {
    if (!add_model(model)) {
      problems.add(fmt::format("{}: {} brings a model '{}', but there is one of that name; give it another", kKey, path,
                               model.name));
      return;
    }
  }
  loaded.insert(known_as);
}

}  // namespace titan::models
