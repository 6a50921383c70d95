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

include(libtorch)

find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
