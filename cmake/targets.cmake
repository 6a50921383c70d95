# titan_library(<folder> SOURCES ... [DEPENDS ...] [LIBRARIES ...]): one static library per folder of titan/, named titan_<folder>.
# titan_tests(<name> SOURCES ... DEPENDS ... [LABEL unit] [USES_PROGRAM]): one test program per folder of tests/, run
# by CTest as one test. USES_PROGRAM: it starts the `titan` binary, at TITAN_BINARY.
# titan_oracle_test(<name> <script.py> [ARGUMENTS...]): a Python script that compares with Python packages; run by
# `./run_tests.sh --all`, in the project's folder, with the program's path in the environment as TITAN_BINARY.

add_library(titan_options INTERFACE)
target_include_directories(titan_options INTERFACE "${PROJECT_SOURCE_DIR}")
# -Wno-restrict: g++ 12 sees overlaps in std::string that are not there (GCC bug 105651).
target_compile_options(titan_options INTERFACE -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-restrict -Werror=return-type -ffp-contract=off)
if(TITAN_SANITIZE)
  target_compile_options(titan_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-sanitize=vptr -fno-omit-frame-pointer)
  target_link_options(titan_options INTERFACE -fsanitize=address,undefined)
endif()
if(TITAN_SANITIZE_THREADS)
  target_compile_options(titan_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(titan_options INTERFACE -fsanitize=thread)
endif()

function(titan_library folder)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  string(REPLACE "/" "_" name "titan_${folder}")
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC titan_options torch_cpu)
  foreach(dependency IN LISTS ARG_DEPENDS)
    string(REPLACE "/" "_" dependency "titan_${dependency}")
    target_link_libraries(${name} PUBLIC ${dependency})
  endforeach()
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES})
endfunction()

function(titan_tests name)
  cmake_parse_arguments(ARG "USES_PROGRAM" "LABEL" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  string(REPLACE "/" "_" target "test_${name}")
  add_executable(${target} ${ARG_SOURCES})
  foreach(dependency IN LISTS ARG_DEPENDS)
    string(REPLACE "/" "_" dependency "titan_${dependency}")
    target_link_libraries(${target} PRIVATE ${dependency})
  endforeach()
  target_link_libraries(${target} PRIVATE ${ARG_LIBRARIES} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${target} PRIVATE TITAN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(ARG_USES_PROGRAM)
    target_compile_definitions(${target} PRIVATE TITAN_BINARY="$<TARGET_FILE:titan>")
    add_dependencies(${target} titan)
  endif()
  add_test(NAME ${name} COMMAND ${target} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  # One thread: CTest runs as many programs at once as there are cores, and OpenMP's threads spin when they wait.
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT 300 ENVIRONMENT "OMP_NUM_THREADS=1")
endfunction()

function(titan_oracle_test name script)
  add_test(NAME oracle_${name}
    COMMAND ${CMAKE_COMMAND} -E env "TITAN_DEPS=${TITAN_DEPS}" "TITAN_BINARY=$<TARGET_FILE:titan>"
      "${PROJECT_SOURCE_DIR}/scripts/oracle_python" "${CMAKE_CURRENT_SOURCE_DIR}/${script}" ${ARGN}
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  set_tests_properties(oracle_${name} PROPERTIES LABELS oracle TIMEOUT 600)
endfunction()
