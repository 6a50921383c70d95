#include "titan/nn/feed_forward.h"

#include "titan/kernels/swiglu.h"

namespace titan::nn {

FeedForward::FeedForward(int64_t dim, int64_t hidden_dim, at::ScalarType dtype)
    : w1(this, "w1", std::make_shared<Linear>(dim, hidden_dim, dtype)),
      w2(this, "w2", std::make_shared<Linear>(hidden_dim, dim, dtype)),
      w3(this, "w3", std::make_shared<Linear>(dim, hidden_dim, dtype)) {}

at::Tensor FeedForward::forward(const at::Tensor& x) { return w2(kernels::swiglu(w1(x), w3(x))); }

}  // namespace titan::nn
