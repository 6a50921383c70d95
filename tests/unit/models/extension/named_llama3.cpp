// A library whose model has the name of one of ours.
#include "titan/models/extension.h"

namespace {
std::vector<titan::models::ModelSpec> models() { return {{.name = "llama3"}}; }
}  // namespace

const titan::models::Extension titan_extension{.models = models};
