// Random numbers drawn again: the generators' states at one moment, and their return for a while. Recomputation needs
// it wherever a forward draws numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace titan::activation_checkpoint {

// Of the CPU's default generator and, where `device` is a GPU, of that GPU's. Numbers that DTensors draw are counted by
// their mesh (dtensor/mesh.h) and are not among them.
class RandomState {
 public:
  explicit RandomState(at::Device device);

  // Sets the generators to this state for its lifetime, and back after.
  class Return {
   public:
    explicit Return(const RandomState& to);
    ~Return();
    Return(const Return&) = delete;
    Return& operator=(const Return&) = delete;

   private:
    std::vector<at::Tensor> states_;
    at::Device device_;
  };

 private:
  std::vector<at::Tensor> states_;
  at::Device device_;
};

}  // namespace titan::activation_checkpoint
