// Loops over memory that are compiled once for each instruction set and chosen at run time, so that one binary uses
// AVX-512 where there is AVX-512. No tensors in here: an operator's .cpp checks, allocates and calls; cpu/<op>.h
// declares its loops as a struct of function pointers, and cpu/<op>.cpp, which CMakeLists.txt builds once for each
// instruction set, defines them and ends with
//   template <> SumLoops loops_for<SumLoops, kCompiledFor>() { return {.sum = sum}; }
//
// [Note: inline functions in loops]
// Of an inline function that several objects have, the linker keeps any one: one compiled for AVX-512 may then run on
// a CPU without it. So what a loop calls is in an unnamed namespace, in at::vec (whose namespaces carry the instruction
// set), or inlined without fail; no containers, no TORCH_CHECK. The tests kernels_symbols_* read the objects for
// others.
#pragma once

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cstdint>

namespace titan::kernels::cpu {

enum class Capability { kDefault, kAvx2, kAvx512 };

// What this CPU has of them, or what ATEN_CPU_CAPABILITY (default, avx2, avx512) restricts it to: ATen's own choice.
Capability capability();

// Defined once in each object of the loops.
template <class Loops, Capability compiled_for>
Loops loops_for();

// The loops for this CPU.
template <class Loops>
const Loops& loops() {
  static const Loops chosen = [] {
#if defined(__x86_64__)
    if (capability() == Capability::kAvx512) return loops_for<Loops, Capability::kAvx512>();
    if (capability() == Capability::kAvx2) return loops_for<Loops, Capability::kAvx2>();
#endif
    return loops_for<Loops, Capability::kDefault>();
  }();
  return chosen;
}

// Whether loops take tensors of a dtype: they compute in fp32 (floats.h).
inline bool has_floats(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
}

// at::parallel_for's grain size for rows of `length` elements: what is worth starting a thread for.
inline int64_t rows_worth_a_thread(int64_t length) {
  constexpr int64_t kElements = 1 << 15;
  return std::max<int64_t>(1, kElements / std::max<int64_t>(1, length));
}

}  // namespace titan::kernels::cpu
