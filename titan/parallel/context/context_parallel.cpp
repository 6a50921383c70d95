#include "titan/parallel/context/context_parallel.h"

#include <c10/util/Exception.h>

#include "titan/nn/attention.h"

namespace titan::parallel {

void share_attention(const std::vector<nn::Module*>& modules, const std::shared_ptr<const Ring>& ring) {
  for (nn::Module* module : modules) {
    int64_t num_found = 0;
    for (nn::Module* part : module->modules()) {
      auto* const attention = dynamic_cast<nn::Attention*>(part);
      if (attention == nullptr) continue;
      ++num_found;
      attention->set_attention_function(
          [ring](const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                 const kernels::AttentionMask& mask) { return ring_attention(query, key, value, mask, *ring); });
    }
    TORCH_CHECK_VALUE(num_found > 0,
                      "parallelism.context_parallel_degree: expected attention that can be shared "
                      "(nn::Attention) in each block, got none in '",
                      module->fqn(), "'; use degree 1 with this model");
  }
}

}  // namespace titan::parallel
