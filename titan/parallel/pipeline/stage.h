// A stage of a pipeline on this rank: runs forwards and backwards of microbatches in whatever order a schedule says,
// and keeps what a backward needs of its forward. It knows no model, no other stage and no schedule.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/edge.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "titan/nn/weight_gradient_queue.h"

namespace titan::pipeline {

// What techniques do for a stage when its schedule says so. By default there is nothing to do.
struct StageHooks {
  std::function<void()> unshard = [] {};           // starts making its parameters whole
  std::function<void()> reshard = [] {};           // frees them
  std::function<void()> keep_gradients = [] {};    // after what may have made gradients of parameters
  std::function<void()> reduce_gradients = [] {};  // starts summing them over ranks
};

class Stage {
 public:
  // input: what the stage before handed on, or undefined for the first stage -> what the next one needs; of the last
  // stage, the loss.
  using Forward = std::function<at::Tensor(int64_t microbatch, const at::Tensor& input)>;

  // weight_gradients: of the stage's linear layers, so that backward_input leaves their products to backward_weight;
  // null: none puts anything off.
  Stage(int64_t index, StageHooks hooks, std::shared_ptr<nn::WeightGradientQueue> weight_gradients)
      : index_(index), hooks_(std::move(hooks)), weight_gradients_(std::move(weight_gradients)) {}

  int64_t index() const { return index_; }
  const StageHooks& hooks() const { return hooks_; }
  // Before a run over microbatches; the last run must be over.
  void begin(Forward forward);

  // Returns the output, without history. Where gradients are recorded, what the backward needs is kept.
  at::Tensor forward(int64_t microbatch, const at::Tensor& input);
  // grad_output: of forward's output; undefined: it was the loss. Returns the gradient of the input, undefined for the
  // first stage.
  at::Tensor backward(int64_t microbatch, const at::Tensor& grad_output);
  // The same in two halves; together they are bit-equal to it.
  at::Tensor backward_input(int64_t microbatch, const at::Tensor& grad_output);
  void backward_weight(int64_t microbatch);

 private:
  // Between a microbatch's forward and its backward. The output itself is not kept: only its place in the graph.
  struct Passed {
    at::Tensor input;  // a leaf; undefined: the first stage
    torch::autograd::Edge output;
    at::TensorOptions options;  // of the output
  };

  int64_t index_;
  StageHooks hooks_;
  Forward forward_;
  std::shared_ptr<nn::WeightGradientQueue> weight_gradients_;
  std::map<int64_t, Passed> passed_;                                          // by microbatch
  std::map<int64_t, std::vector<nn::WeightGradientQueue::Product>> put_off_;  // by microbatch
};

}  // namespace titan::pipeline
