// Whether a forward runs for the second time, to bring back what its backward needs (activation checkpointing). Hooks
// that act on the way of data through the model, such as freeing parameters behind a forward, must tell the two apart.
#pragma once

namespace titan::nn {

// Of this thread.
bool is_recomputing();

// What happens on this thread while it lives is a recomputation.
class Recomputation {
 public:
  Recomputation();
  ~Recomputation();
  Recomputation(const Recomputation&) = delete;
  Recomputation& operator=(const Recomputation&) = delete;

 private:
  bool outer_;
};

}  // namespace titan::nn
