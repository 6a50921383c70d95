// Which module the communication of this thread serves now, for the flight recorder. Whoever knows says so around what
// it does: a scope in FSDP around its all-gathers, hooks around every module's forward (titan/parallel), a backward
// node with what it found in the forward.
#pragma once

#include <memory>
#include <string>

namespace titan::distributed::recorder {

// "layers.7". Shared, since records outlive models; null: no module.
using ModuleName = std::shared_ptr<const std::string>;

// The innermost scope's name.
const ModuleName& served_module();

// While it lives, this thread serves `name`. The same as begin_ and end_, for hooks that come in pairs.
class ServedModule {
 public:
  explicit ServedModule(ModuleName name);
  ~ServedModule();
  ServedModule(const ServedModule&) = delete;
  ServedModule& operator=(const ServedModule&) = delete;
};
void begin_served_module(ModuleName name);
void end_served_module();

}  // namespace titan::distributed::recorder
