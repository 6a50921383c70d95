// A library of models that calls what this program has not.
#include "titan/models/extension.h"

namespace titan::models {
std::vector<ModelSpec> models_of_yesterday();
}

const titan::models::Extension titan_extension{.models = titan::models::models_of_yesterday};
