// Tells the flight recorder which module the communication of a forward serves. It changes nothing else.
#pragma once

#include "titan/nn/module.h"

namespace titan::parallel {

// While a module of `root`'s tree is called, what the calling thread communicates is recorded as the module's, by FQN;
// the innermost one counts. The root itself stays nameless. Backward nodes remember what they were made in.
void name_served_modules(nn::Module& root);

}  // namespace titan::parallel
