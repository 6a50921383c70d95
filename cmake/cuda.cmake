# libtitan_cuda.so: what the program lacks without CUDA, built wherever nvcc 13 is, GPU or not, and opened by the program
# where there is a GPU (titan/device). It is linked with the CUDA half of libtorch and with NCCL; cuBLAS, cuDNN and the
# rest are libtorch's own needs and resolve at run time.

# titan_cuda_sources(<source>...): adds to libtitan_cuda.so; called from the folders of titan/.
function(titan_cuda_sources)
  foreach(source IN LISTS ARGN)
    set_property(GLOBAL APPEND PROPERTY TITAN_CUDA_SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
  endforeach()
endfunction()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "nvcc was not found: libtitan_cuda.so is not built, and the program will not use a GPU")
  return()
endif()
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
# Ampere, Hopper with its own instructions, and PTX that newer cards translate.
set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
enable_language(CUDA)
# CMake 3.25 does not know that nvcc 13 has C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13 OR CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 14)
  message(FATAL_ERROR "nvcc ${CMAKE_CUDA_COMPILER_VERSION} was found at ${CMAKE_CUDA_COMPILER}, but libtorch is built with CUDA 13: put nvcc 13 first in PATH, or none")
endif()
find_package(CUDAToolkit REQUIRED)
# The wheel has NCCL's header and library; a toolkit may have them too.
find_path(TITAN_NCCL_INCLUDE nccl.h HINTS "${TITAN_DEPS}/wheels/nvidia/nccl/include" ${CUDAToolkit_INCLUDE_DIRS})
if(NOT TITAN_NCCL_INCLUDE)
  message(FATAL_ERROR "nccl.h is missing: run TITAN_CUDA=1 scripts/setup.sh, which brings NCCL")
endif()

function(titan_add_cuda_library)
  get_property(sources GLOBAL PROPERTY TITAN_CUDA_SOURCES)
  add_library(titan_cuda SHARED ${sources})
  set_target_properties(titan_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
  target_include_directories(titan_cuda PRIVATE "${PROJECT_SOURCE_DIR}")
  target_include_directories(titan_cuda SYSTEM PRIVATE "${TITAN_TORCH}/include"
    "${TITAN_TORCH}/include/torch/csrc/api/include" "${TITAN_NCCL_INCLUDE}" ${CUDAToolkit_INCLUDE_DIRS})
  target_compile_definitions(titan_cuda PRIVATE AT_PER_OPERATOR_HEADERS USE_DISTRIBUTED USE_C10D_NCCL FMT_HEADER_ONLY=1)
  target_compile_options(titan_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-unused-parameter;-Wno-missing-field-initializers;-Wno-restrict>
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;--expt-extended-lambda;-lineinfo;-O3>)
  target_link_libraries(titan_cuda PRIVATE "${TITAN_TORCH}/lib/libtorch_cuda.so" "${TITAN_TORCH}/lib/libc10_cuda.so"
    "${TITAN_TORCH}/lib/libtorch_cpu.so" "${TITAN_TORCH}/lib/libc10.so" CUDA::cudart)
  # Every symbol of ours is found now; libtorch's own needs at run time, along these paths.
  target_link_options(titan_cuda PRIVATE -Wl,--no-undefined -Wl,--allow-shlib-undefined)
  set(nvidia "${TITAN_DEPS}/wheels/nvidia")
  set_target_properties(titan_cuda PROPERTIES
    BUILD_RPATH "${TITAN_TORCH}/lib;${nvidia}/cu13/lib;${nvidia}/cudnn/lib;${nvidia}/nccl/lib;${nvidia}/cusparselt/lib;${nvidia}/nvshmem/lib")
endfunction()
