// What runs of `titan verify` leave for each other in a folder: the reference run its states and gradients, every
// compared rank how far it is from them.
//   state-<k>.safetensors       after step k (0: before the first): model and optimizer, counters in state-<k>.json
//   gradients-<k>.safetensors   of step k, before clipping
//   reference.json              a Comparison whose differences are all zero
//   <name>/rank<r>.json         a Comparison
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "titan/checkpoint/train_state.h"

namespace titan::verify {

// ||a - b||_2 / ||b||_2 by FQN, accumulated in fp64; infinite where b is zero and a is not, or a tensor is missing.
using Differences = std::map<std::string, double>;

struct StepComparison {
  double loss = 0, grad_norm = 0;  // of the step from the reference's state before it
  Differences gradients;           // before clipping
  Differences parameters;          // after the update
  Differences parameter_slack;     // how far Adam may take parameters apart, given these gradients: adam_slack
  double all_gradients = 0, all_parameters = 0;  // the same, of all tensors as one vector
};

// One rank's account of a layout.
struct Comparison {
  Differences initial_parameters;                    // as this rank initialised or loaded them
  std::vector<double> free_losses, free_grad_norms;  // of a run of its own, which is never set back
  std::vector<StepComparison> steps;                 // from step 1
};

Differences compare(const std::map<std::string, at::Tensor>& tensors,
                    const std::map<std::string, at::Tensor>& reference);
// All tensors as one vector.
double compare_whole(const std::map<std::string, at::Tensor>& tensors,
                     const std::map<std::string, at::Tensor>& reference);

// [Note: Adam's slack]
// Adam divides by the gradient's own size, so where |g| is near eps a difference that is nothing beside the tensor's
// norm turns the step: parameters cannot be as close as gradients are. One step moves an element by lr * u with
// |u(g) - u(g')| <= min(2, |g - g'| / (|g| + eps)), in the first step; in later ones the averages damp it.
// Returns lr * ||that bound||_2 / ||parameter||_2 by FQN: 0 where gradients are bit-equal.
Differences adam_slack(const std::map<std::string, at::Tensor>& gradients,
                       const std::map<std::string, at::Tensor>& reference_gradients,
                       const std::map<std::string, at::Tensor>& reference_parameters, double lr, double eps);

// Copies into the tensors of `state`, which must be those of the file by name and shape.
void save_state(const std::filesystem::path& folder, int64_t step, const checkpoint::TrainState& state);
void load_state(const std::filesystem::path& folder, int64_t step, checkpoint::TrainState& state);
std::map<std::string, at::Tensor> read_model(const std::filesystem::path& folder, int64_t step);

void save_gradients(const std::filesystem::path& folder, int64_t step,
                    const std::map<std::string, at::Tensor>& gradients);
std::map<std::string, at::Tensor> read_gradients(const std::filesystem::path& folder, int64_t step);

void save_comparison(const std::filesystem::path& file, const Comparison& comparison);
Comparison read_comparison(const std::filesystem::path& file);

}  // namespace titan::verify
