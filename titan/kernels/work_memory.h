// Memory that a loop of cpu/ works in.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstddef>
#include <cstdint>

namespace titan::kernels {

class WorkMemory {
 public:
  explicit WorkMemory(int64_t num_bytes) : memory_(at::empty({num_bytes + kAlignment}, at::kByte)) {}

  // Aligned to a cache line, not initialised.
  std::byte* data() const {
    const auto address = reinterpret_cast<uintptr_t>(memory_.mutable_data_ptr());
    return reinterpret_cast<std::byte*>((address + kAlignment - 1) / kAlignment * kAlignment);
  }

 private:
  static constexpr int64_t kAlignment = 64;
  at::Tensor memory_;
};

}  // namespace titan::kernels
