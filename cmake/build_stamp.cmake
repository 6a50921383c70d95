# cmake -DSOURCE_DIR=... -DOUTPUT=... -DVERSION=... -P build_stamp.cmake: writes the header that names what a library of
# models was built against: the version, and a hash of every header of ours and of the wheels' versions, which together
# fix the layout of every type that crosses.
file(GLOB_RECURSE headers RELATIVE "${SOURCE_DIR}" "${SOURCE_DIR}/titan/*.h")
list(SORT headers)
set(contents "")
foreach(file IN LISTS headers ITEMS scripts/wheels/cpu.txt)
  file(SHA256 "${SOURCE_DIR}/${file}" hash)
  string(APPEND contents "${file} ${hash}\n")
endforeach()
string(SHA256 hash "${contents}")
string(SUBSTRING "${hash}" 0 12 hash)
set(text "// Made by cmake/build_stamp.cmake.
#pragma once

namespace titan::models {

inline constexpr const char* kBuildStamp = \"${VERSION}-${hash}\";

}  // namespace titan::models
")
set(old "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" old)
endif()
if(NOT old STREQUAL text)  # the same text leaves what was built with it
  file(WRITE "${OUTPUT}" "${text}")
endif()
