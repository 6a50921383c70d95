# libtitan_cuda.so: what the program lacks without CUDA, built wherever nvcc 13 is, GPU or not, and opened by the program
# where there is a GPU (titan/device). It is linked with the CUDA half of libtorch and with NCCL; cuBLAS, cuDNN and the
# rest are libtorch's own needs and resolve at run time.

# titan_cuda_sources(<source>...): adds to libtitan_cuda.so; called from the folders of titan/.
function(titan_cuda_sources)
  foreach(source IN LISTS ARGN)
    set_property(GLOBAL APPEND PROPERTY TITAN_CUDA_SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
  endforeach()
endfunction()

# Everything below is done only where all of it is there; what is missing is said once and the CPU's program is built.
set(TITAN_BUILD_CUDA OFF)
set(nvidia_wheels "${TITAN_DEPS}/wheels/nvidia")
find_program(TITAN_NVCC nvcc HINTS "${nvidia_wheels}/cu13/bin" /usr/local/cuda/bin)
if(TITAN_NVCC)
  execute_process(COMMAND "${TITAN_NVCC}" --version OUTPUT_VARIABLE nvcc_version ERROR_QUIET)
  string(REGEX MATCH "release [0-9.]+" nvcc_version "${nvcc_version}")
endif()
# The wheel has NCCL's header; a toolkit may have it too.
find_path(TITAN_NCCL_INCLUDE nccl.h HINTS "${nvidia_wheels}/nccl/include" /usr/local/cuda/include)
if(NOT TITAN_NVCC)
  message(STATUS "libtitan_cuda.so is not built, so no GPU will be used: there is no nvcc")
elseif(NOT nvcc_version MATCHES "release 13\\.")
  message(STATUS "libtitan_cuda.so is not built, so no GPU will be used: ${TITAN_NVCC} is ${nvcc_version}, and libtorch is built with CUDA 13")
elseif(NOT TITAN_NCCL_INCLUDE)
  message(STATUS "libtitan_cuda.so is not built, so no GPU will be used: nccl.h is missing; TITAN_CUDA=1 scripts/setup.sh brings it")
else()
  set(TITAN_BUILD_CUDA ON)
endif()
if(NOT TITAN_BUILD_CUDA)
  return()
endif()

set(CMAKE_CUDA_COMPILER "${TITAN_NVCC}")
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
# Ampere, Hopper with its own instructions, and PTX that newer cards translate.
set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # the one that libtorch brings
enable_language(CUDA)
# CMake 3.25 does not know that nvcc 13 has C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)

function(titan_add_cuda_library)
  get_property(sources GLOBAL PROPERTY TITAN_CUDA_SOURCES)
  add_library(titan_cuda SHARED ${sources})
  set_target_properties(titan_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
  target_include_directories(titan_cuda PRIVATE "${PROJECT_SOURCE_DIR}")
  target_include_directories(titan_cuda SYSTEM PRIVATE "${TITAN_TORCH}/include"
    "${TITAN_TORCH}/include/torch/csrc/api/include" "${TITAN_NCCL_INCLUDE}" ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  target_compile_definitions(titan_cuda PRIVATE AT_PER_OPERATOR_HEADERS USE_DISTRIBUTED USE_C10D_NCCL FMT_HEADER_ONLY=1)
  target_compile_options(titan_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-unused-parameter;-Wno-missing-field-initializers;-Wno-restrict>
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;--expt-extended-lambda;-lineinfo;-O3>)
  target_link_libraries(titan_cuda PRIVATE "${TITAN_TORCH}/lib/libtorch_cuda.so" "${TITAN_TORCH}/lib/libc10_cuda.so"
    "${TITAN_TORCH}/lib/libtorch_cpu.so" "${TITAN_TORCH}/lib/libc10.so" "${nvidia_wheels}/cu13/lib/libcudart.so.13")
  # Every symbol of ours is found now; libtorch's own needs at run time, along these paths.
  target_link_options(titan_cuda PRIVATE -Wl,--no-undefined -Wl,--allow-shlib-undefined)
  set_target_properties(titan_cuda PROPERTIES
    BUILD_RPATH "${TITAN_TORCH}/lib;${nvidia_wheels}/cu13/lib;${nvidia_wheels}/cudnn/lib;${nvidia_wheels}/nccl/lib;${nvidia_wheels}/cusparselt/lib;${nvidia_wheels}/nvshmem/lib")
endfunction()
