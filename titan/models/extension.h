// Models from outside the tree: what a shared library offers, which experimental.custom_import names. A library defines
// one symbol,
//   const titan::models::Extension titan_extension{.models = my_models};
// with which its models stand in the registry beside ours. docs/extending.md shows how; load_extension.h is the other
// side. The program lends the library its code, so both must be built from the same headers: [Note: build stamp].
#pragma once

#include <vector>

#include "titan/models/build_stamp.h"
#include "titan/models/model_spec.h"

namespace titan::models {

// [Note: build stamp]
// C++ has no stable layouts: a library that was compiled with other headers of ours reads other bytes. So the headers'
// hash is compiled into library and program, and only equal ones go together. The stamp is read first, and must
// therefore stay the first member, as plain as it is.
struct Extension {
  const char* built_for = kBuildStamp;
  // Called once. The names must be new.
  std::vector<ModelSpec> (*models)() = nullptr;
};

}  // namespace titan::models

// By which it is found: defined by each library, and by nobody else.
extern "C" __attribute__((visibility("default"))) const titan::models::Extension titan_extension;
