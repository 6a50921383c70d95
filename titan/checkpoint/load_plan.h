// Which stored tensor goes into which tensor of the run. Everything is checked before anything is copied, and all that
// does not fit is told in one error. Of DTensors, each rank takes what it holds: any layout loads any checkpoint.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "titan/checkpoint/tensor_reader.h"
#include "titan/checkpoint/train_state.h"

namespace titan::distributed {
class ProcessGroup;
}

namespace titan::checkpoint {

class LoadPlan {
 public:
  using Tensors = std::map<std::string, at::Tensor>;

  // Exact: each of `tensors` is stored as `prefix` + its name, with the same shape and dtype. The plan holds `stored`
  // by reference.
  void add_exact(const std::string& prefix, const Tensors& tensors, const TensorReader& stored);

  // What is stored but has no place in the run: each name that `is_known` does not know.
  void add_unexpected(const TensorReader& stored, const std::function<bool(const std::string& name)>& is_known);

  // The weights of a model out of any checkpoint: by FQN or, told by the names, in `foreign` format; dtypes are
  // converted. Other parts of a full checkpoint (optimizer.*, train_state.* ...) are passed over. Returns whether the
  // names were foreign.
  bool add_model(const Tensors& tensors, const TensorReader& stored, const ForeignFormat* foreign);

  // Forgets what is unexpected here but expected on another rank of `group`, which may hold other tensors (pipeline
  // stages). Collective; null: this rank is alone.
  void agree_on_unexpected(distributed::ProcessGroup* group);

  // Throws c10::ValueError listing all missing, unexpected and misshaped tensors; `from` stands before it.
  void check(const std::string& from) const;

  // Copies in place, without gradients, `num_threads` tensors at a time. Call check() first.
  void run(int64_t num_threads = 1) const;

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
