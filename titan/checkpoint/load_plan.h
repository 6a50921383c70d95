// Which stored tensor goes into which tensor of the run. Everything is checked before anything is copied, and all that
// does not fit is told in one error.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "titan/checkpoint/tensor_reader.h"
#include "titan/checkpoint/train_state.h"

namespace titan::checkpoint {

class LoadPlan {
 public:
  using Tensors = std::map<std::string, at::Tensor>;

  // Exact: names, shapes and dtypes must be the same. `what` ("model", "optimizer") is for messages. The plan holds
  // `stored` by reference.
  void add_exact(const std::string& what, const Tensors& tensors, const TensorReader& stored);

  // The weights of a model out of any checkpoint: by FQN or, told by the names, in `foreign` format; dtypes are
  // converted. Other parts of a full checkpoint (optimizer.*, train_state.* ...) are passed over. Returns whether the
  // names were foreign.
  bool add_model(const Tensors& tensors, const TensorReader& stored, const ForeignFormat* foreign);

  // Throws c10::ValueError listing all missing, unexpected and misshaped tensors; `from` stands before it.
  void check(const std::string& from) const;

  // Copies in place, without gradients and one tensor at a time. Call check() first.
  void run() const;

 private:
  struct Copy {
    at::Tensor to;
    const TensorReader* stored;
    std::string name;
    std::function<at::Tensor(const at::Tensor&)> convert;  // may be empty
  };

  void add(const std::string& label, const at::Tensor& to, const TensorReader& stored, const std::string& name,
           bool exact, std::function<at::Tensor(const at::Tensor&)> convert);

  std::vector<Copy> copies_;
  std::vector<std::string> missing_, unexpected_, unfitting_;
};

}  // namespace titan::checkpoint
