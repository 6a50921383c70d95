// The instruction set that the including object is compiled for. Only for the sources of loops (loops.h).
#pragma once

#include "titan/kernels/cpu/loops.h"

#ifndef CPU_CAPABILITY
#error "this header is for sources that titan/kernels/CMakeLists.txt builds as loops"
#endif

namespace titan::kernels::cpu {

#if defined(CPU_CAPABILITY_AVX512)
constexpr Capability kCompiledFor = Capability::kAvx512;
#elif defined(CPU_CAPABILITY_AVX2)
constexpr Capability kCompiledFor = Capability::kAvx2;
#else
constexpr Capability kCompiledFor = Capability::kDefault;
#endif

}  // namespace titan::kernels::cpu
