#include "titan/parallel/served_modules.h"

#include <memory>
#include <string>

#include "titan/distributed/recorder/served_module.h"

namespace titan::parallel {

namespace recorder = distributed::recorder;

void name_served_modules(nn::Module& root) {
  for (nn::Module* const module : root.modules()) {
    if (module == &root) continue;
    module->register_use_hooks([name = std::make_shared<const std::string>(module->fqn())](
                                   nn::Module&) { recorder::begin_served_module(name); },
                               [](nn::Module&) { recorder::end_served_module(); });
  }
}

}  // namespace titan::parallel
