// Loads models from outside the tree (extension.h) into the registry.
#pragma once

#include <string>

namespace titan::config {
class Problems;
}

namespace titan::models {

// path: a shared library. Its models are found by find_model from now on; it stays loaded until the program ends. A
// path that is loaded already does nothing. Adds a line, named after experimental.custom_import, if there is no such
// file, if it cannot be loaded, is no library of models, was built for another titan.cpp, or brings a name that is
// taken. Constructors of the library's globals run before any of this can be known.
void load_extension(const std::string& path, config::Problems& problems);

}  // namespace titan::models
