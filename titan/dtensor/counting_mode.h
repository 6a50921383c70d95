// Which operators run: a mode that counts them by name. With it, what DTensors must cover is measured, not guessed.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "titan/dtensor/interposition.h"

namespace titan::dtensor {

// Of one thread and autograd's threads for it; not for two threads at once.
class CountingMode : public Mode {
 public:
  // "aten::add.Tensor" -> number of calls.
  const std::map<std::string, int64_t>& counts() const { return counts_; }

  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack& stack) override;
  bool sees_local_operators() const override { return sees_local_; }

  // Whether operators on the local parts of DTensors count too.
  explicit CountingMode(bool sees_local = false) : sees_local_(sees_local) {}

 private:
  bool sees_local_;
  std::map<std::string, int64_t> counts_;
};

}  // namespace titan::dtensor
