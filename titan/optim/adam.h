// Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) and AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101,
// algorithm 2, decoupled weight decay), with PyTorch's arithmetic, so that trajectories are TorchTitan's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "titan/nn/module.h"

namespace titan::config {
struct Optimizer;
}

namespace titan::optim {

// Three ways to the same numbers but for rounding: one kernel over all tensors, one operation over all tensors at a
// time, one tensor at a time.
enum class Implementation { kFused, kForeach, kForLoop };

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  bool decoupled_weight_decay = true;  // AdamW; false: Adam, which adds weight_decay * parameter to the gradient
  Implementation implementation = Implementation::kFused;
};

AdamOptions adam_options_from(const config::Optimizer& config);

class Adam {
 public:
  // Holds the slots, so parameters may be swapped between steps; states are made here, zero, on the parameters' device.
  Adam(std::vector<nn::Parameter*> parameters, const AdamOptions& options);

  // One update with learning rate `lr`, of the parameters that have a gradient. `skip`, if defined, is a [] float32 on
  // the parameters' device: where it is 1, nothing changes, and the host need not know. Only where skips_on_device().
  void step(double lr, const at::Tensor& skip = {});
  bool skips_on_device() const { return options_.implementation == Implementation::kFused; }

  // Forgets all gradients.
  void zero_grad();

  // The gradients there are, by FQN.
  std::map<std::string, at::Tensor> gradients() const;

  // The states by name, sharing memory with the optimizer: "state.<fqn>.exp_avg", ".exp_avg_sq", and ".step", an fp32
  // scalar, on a GPU only for the fused implementation. Writing into them restores a checkpoint.
  std::map<std::string, at::Tensor> state() const;

 private:
  struct Tensors;
  void step_foreach(Tensors& tensors, double lr);

  std::vector<nn::Parameter*> parameters_;
  AdamOptions options_;
  std::vector<at::Tensor> exp_avgs_, exp_avg_sqs_, steps_;
};

}  // namespace titan::optim
