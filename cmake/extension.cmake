# titan_extension(<name> <source>...): a shared library with models, <name>.so, for experimental.custom_import
# (titan/models/extension.h). It links none of our libraries: the program that loads it gives it their symbols
# (cmake/exported_symbols.txt), so there is one registry, one logger, one set of operators.
function(titan_extension name)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE titan_options torch_cpu)
  target_include_directories(${name} PRIVATE "${TITAN_GENERATED_DIR}")
  set_target_properties(${name} PROPERTIES PREFIX "")
  if(TARGET titan_build_stamp)
    add_dependencies(${name} titan_build_stamp)
  endif()
endfunction()
