// Whether this CPU multiplies matrices of bfloat16 in a unit of its own (AMX on x86-64).
#pragma once

namespace titan::kernels::cpu {

// Asks the kernel, at the first call, for the right to use it. False where ATEN_CPU_CAPABILITY restricts the
// instruction sets to less than AVX-512.
bool has_matrix_unit();

}  // namespace titan::kernels::cpu
