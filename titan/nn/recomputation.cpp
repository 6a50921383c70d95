#include "titan/nn/recomputation.h"

#include <utility>

namespace titan::nn {
namespace {

// Global, as the recomputation and the hooks that ask know nothing of each other.
thread_local bool recomputing = false;

}  // namespace

bool is_recomputing() { return recomputing; }

Recomputation::Recomputation() : outer_(std::exchange(recomputing, true)) {}

Recomputation::~Recomputation() { recomputing = outer_; }

}  // namespace titan::nn
