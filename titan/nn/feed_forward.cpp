#include "titan/nn/feed_forward.h"

#include "titan/kernels/swiglu.h"
#include "titan/nn/discarded_result.h"

namespace titan::nn {

FeedForward::FeedForward(int64_t dim, int64_t hidden_dim, at::ScalarType dtype)
    : w1(this, "w1", std::make_shared<Linear>(dim, hidden_dim, dtype)),
      w2(this, "w2", std::make_shared<Linear>(hidden_dim, dim, dtype)),
      w3(this, "w3", std::make_shared<Linear>(dim, hidden_dim, dtype)) {}

at::Tensor FeedForward::forward(const at::Tensor& x) {
  const at::Tensor gate = w1(x), up = w3(x);
  // One pass over what the backward needs anyway, where the product would be the widest tensor that a block keeps.
  const auto product = [gate, up] { return kernels::swiglu(gate, up); };
  return use_and_discard(product(), product, [&](const at::Tensor& y) { return w2(y); });
}

}  // namespace titan::nn
