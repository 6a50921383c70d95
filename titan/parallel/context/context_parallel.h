// Context parallelism: ranks share each sequence, so that its length is bounded by the memory of all of them. A
// module's forward works on this rank's tokens as on any others; only its attention looks at those of the other ranks.
// It knows no model: it is told where to look for attention. docs/context_parallel.md tells the whole story.
#pragma once

#include <memory>
#include <vector>

#include "titan/nn/module.h"
#include "titan/parallel/context/ring_attention.h"

namespace titan::parallel {

// Lets every nn::Attention in `modules` attend over the ring. Whoever calls them passes them this rank's tokens
// (Ring::own_tokens), with their positions and first keys in the whole sequence. Throws c10::ValueError if there is
// none: attention of another kind would see its own rank's tokens only.
void share_attention(const std::vector<nn::Module*>& modules, const std::shared_ptr<const Ring>& ring);

}  // namespace titan::parallel
