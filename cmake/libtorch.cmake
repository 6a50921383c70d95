# libtorch: the CPU half of the wheel. The program never links the CUDA half; see titan/device for how it is opened.
set(TITAN_TORCH "${TITAN_DEPS}/wheels/torch")
if(NOT EXISTS "${TITAN_TORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "${TITAN_TORCH}/lib/libtorch_cpu.so is missing: run scripts/setup.sh, or set TITAN_DEPS to the folder that has it")
endif()
add_library(torch_cpu INTERFACE)
target_include_directories(torch_cpu SYSTEM INTERFACE "${TITAN_TORCH}/include" "${TITAN_TORCH}/include/torch/csrc/api/include")
target_compile_definitions(torch_cpu INTERFACE AT_PER_OPERATOR_HEADERS USE_DISTRIBUTED USE_C10D_GLOO FMT_HEADER_ONLY=1)
target_link_libraries(torch_cpu INTERFACE "${TITAN_TORCH}/lib/libtorch_cpu.so" "${TITAN_TORCH}/lib/libc10.so")
# libtorch_cpu's own needs (CUPTI, cudart) resolve by its rpath at run time, not at link time.
target_link_options(torch_cpu INTERFACE "-Wl,-rpath,${TITAN_TORCH}/lib" "-Wl,--allow-shlib-undefined")
target_compile_options(torch_cpu INTERFACE -fopenmp)  # at::parallel_for is silently serial without it
target_link_options(torch_cpu INTERFACE -fopenmp)
