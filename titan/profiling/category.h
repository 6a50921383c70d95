// What the time of a step goes to, in the few categories that say where to look next, and the two tables that sort
// operators (on a CPU) and kernels (on a GPU) into them by name.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace titan::profiling {

enum class Category {
  kMatmul,
  kAttention,
  kOther,          // norms, activations, rotary embedding, loss, copies
  kOptimizer,      // the update, and the gradients' norm and clipping
  kCommunication,  // between ranks
};
inline constexpr std::array kCategories = {Category::kMatmul, Category::kAttention, Category::kOther,
                                           Category::kOptimizer, Category::kCommunication};

// "matmul", "attention", "other", "optimizer", "communication".
std::string_view name_of(Category category);

// A partition of some wall time: every instant counts once.
struct TimeByCategory {
  std::array<double, kCategories.size()> seconds{};  // by Category
  double idle_seconds = 0;                           // nothing of the above ran

  double& operator[](Category category) { return seconds[static_cast<size_t>(category)]; }
  double operator[](Category category) const { return seconds[static_cast<size_t>(category)]; }
  double total() const;
};

// Of an operator or a recorded scope: "aten::mm", "titan::sum_of_squares".
Category category_of_operator(std::string_view name);

// Of a CUDA kernel, a copy or a fill, by its demangled name or the start of it.
Category category_of_kernel(std::string_view name);

}  // namespace titan::profiling
