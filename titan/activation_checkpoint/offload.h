// Activations in host memory: what autograd keeps of a module's forward is copied to the host while the device goes on
// computing, and copied back before the backward needs it, one module ahead. It costs no computing, but the bandwidth
// between device and host. (Rhu et al. 2016, arXiv 1602.08124, call it offloading of feature maps.)
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "titan/nn/module.h"

namespace titan::activation_checkpoint {

struct OffloadCounts {
  int64_t num_tensors = 0;  // copied to the host, so far
  int64_t num_bytes = 0;
  int64_t num_ahead = 0;  // modules whose copies came back before they were asked for
};

struct OffloadOptions {
  // Smaller tensors stay: a copy of them takes longer to start than to run.
  int64_t min_bytes = 64 * 1024;
  // Tensors on a CPU are in host memory already and stay, unless tests want to see them copied.
  bool copies_on_cpu = false;
};

// modules: in the order of their calls. The last one's backward follows its forward at once, so what it keeps stays.
// Parameters and the modules' inputs stay too.
std::shared_ptr<const OffloadCounts> offload_activations(const std::vector<nn::Module*>& modules,
                                                         const OffloadOptions& options = {});

}  // namespace titan::activation_checkpoint
