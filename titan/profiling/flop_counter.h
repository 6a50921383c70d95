// Counts the floating-point operations of the matrix products and attentions that are executed, by watching ATen's
// dispatcher: recomputation counts, and so do autograd's own threads. It sees operators, not kernels: the replay of a
// captured CUDA graph runs none, so what is captured is counted when it is captured.
#pragma once

#include <atomic>
#include <cstdint>

namespace titan::profiling {

struct FlopCount {
  double matmul = 0;
  double attention = 0;
  double total() const { return matmul + attention; }
};

// Counts what every thread of the process does while it lives. One at a time; made and ended while no other thread is
// inside an operator. On a GPU it counts what was enqueued.
class FlopCounter {
 public:
  FlopCounter();
  ~FlopCounter();
  FlopCounter(const FlopCounter&) = delete;
  FlopCounter& operator=(const FlopCounter&) = delete;

  FlopCount count() const { return {.matmul = matmul_, .attention = attention_}; }

 private:
  friend struct FlopCallbacks;
  std::atomic<double> matmul_ = 0, attention_ = 0;
  uint64_t callbacks_;
};

}  // namespace titan::profiling
