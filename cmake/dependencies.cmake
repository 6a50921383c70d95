# Everything the build takes from outside. Debian packages are found by their headers; the message names the
# package that brings a missing one. libtorch comes from the wheels that scripts/setup.sh unpacks.

function(titan_require_header header package)
  string(MAKE_C_IDENTIFIER "TITAN_HAVE_${header}" variable)
  find_path(${variable} ${header})
  if(NOT ${variable})
    message(FATAL_ERROR "${header} is missing: apt-get install ${package} (or run ./run_train.sh as root)")
  endif()
endfunction()
titan_require_header(toml++/toml.h libtomlplusplus-dev)
titan_require_header(CLI/CLI.hpp libcli11-dev)
titan_require_header(nlohmann/json.hpp nlohmann-json3-dev)
titan_require_header(simdjson.h libsimdjson-dev)
titan_require_header(pcre2.h libpcre2-dev)
titan_require_header(utf8proc.h libutf8proc-dev)
titan_require_header(zlib.h zlib1g-dev)
titan_require_header(zstd.h libzstd-dev)
titan_require_header(google/protobuf/message_lite.h libprotobuf-dev)
titan_require_header(gtest/gtest.h libgtest-dev)
titan_require_header(benchmark/benchmark.h libbenchmark-dev)

find_program(CCACHE ccache)
if(CCACHE)
  # Paths relative to the checkout, so that a second checkout finds what the first one compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

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

find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
