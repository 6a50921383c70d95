#include "titan/distributed/recorder/served_module.h"

#include <c10/util/Exception.h>

#include <utility>
#include <vector>

namespace titan::distributed::recorder {
namespace {

// Of this thread, since ranks may be threads; innermost last.
std::vector<ModuleName>& scopes() {
  thread_local std::vector<ModuleName> scopes;
  return scopes;
}

}  // namespace

const ModuleName& served_module() {
  static const ModuleName none;
  const auto& open = scopes();
  return open.empty() ? none : open.back();
}

void begin_served_module(ModuleName name) { scopes().push_back(std::move(name)); }

void end_served_module() {
  TORCH_INTERNAL_ASSERT(!scopes().empty(), "the end of a scope that did not begin");
  scopes().pop_back();
}

ServedModule::ServedModule(ModuleName name) { begin_served_module(std::move(name)); }
ServedModule::~ServedModule() { scopes().pop_back(); }

}  // namespace titan::distributed::recorder
