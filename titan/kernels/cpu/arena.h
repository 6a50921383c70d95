// Parts of one piece of memory, handed out one after the other. Only for the sources of loops (loops.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "titan/kernels/cpu/compiled_for.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

// Over null it only counts, so that the same function says how much memory is needed and takes it.
class Arena {
 public:
  explicit Arena(std::byte* memory) : memory_(memory) {}

  // `count` elements, aligned to a cache line, not initialised.
  template <class T>
  T* take(int64_t count) {
    auto* const part = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(memory_) + static_cast<uintptr_t>(size_));
    size_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return part;
  }

  int64_t size() const { return size_; }  // bytes taken

 private:
  std::byte* memory_;
  int64_t size_ = 0;
};

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
